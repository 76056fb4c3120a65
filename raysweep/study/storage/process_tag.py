"""A tag on every process that a driver starts, so that processes which outlive it can be recognized.

The tag is an environment variable, which Ray's daemons and workers and the tracking process inherit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DRIVER_TAG = "RAYSWEEP_DRIVER"
PROC = Path("/proc")


@contextmanager
def tagged_process_env(folder: Path) -> Iterator[None]:
    """Tag the processes started within the block with this process and the study's folder."""
    os.environ[DRIVER_TAG] = driver_tag(folder)
    try:
        yield
    finally:
        del os.environ[DRIVER_TAG]


def driver_tag(folder: Path) -> str:
    """The tag of this process as the driver of the study in a folder; `parse_driver_tag` reads it."""
    pid = os.getpid()
    return f"{pid}:{process_start_ticks(pid)}:{folder}"


def process_start_ticks(pid: int, proc: Path = PROC) -> str:
    """When a process started, in ticks since boot, which identifies it together with its id.

    "" if it is gone, and always where there is no /proc (macOS).
    """
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]  # proc(5): field 22; the second may hold spaces


def parse_driver_tag(tag: str) -> tuple[int, str, str] | None:
    """(pid, start in ticks, the study's folder) of a tag; None if the text is no tag.

    >>> parse_driver_tag("12:345:/runs/a:b")
    (12, '345', '/runs/a:b')
    """
    pid, _, rest = tag.partition(":")
    start, _, folder = rest.partition(":")
    return (int(pid), start, folder) if pid.isdigit() and folder else None
