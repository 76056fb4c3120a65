"""Every process that a driver starts carries its name, so that what outlives it can be told from others'.

The name stands in the environment, which Ray's daemons and workers and the tracking process inherit.
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
    """Have what is started within the block carry this process's name and the study's folder."""
    os.environ[DRIVER_TAG] = driver_tag(folder)
    try:
        yield
    finally:
        del os.environ[DRIVER_TAG]


def driver_tag(folder: Path) -> str:
    """The mark of this process as the driver of the study in a folder; `parse_driver_tag` reads it."""
    pid = os.getpid()
    return f"{pid}:{process_start_ticks(pid)}:{folder}"


def process_start_ticks(pid: int, proc: Path = PROC) -> str:
    """When a process started, in ticks since boot: with its id it names it for good; empty if it is gone.

    Where there is no /proc (macOS) it is always empty.
    """
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]  # proc(5): field 22; the second may hold spaces


def parse_driver_tag(mark: str) -> tuple[int, str, str] | None:
    """(pid, when it started, the study's folder) of a mark; None if it is none.

    >>> parse_driver_tag("12:345:/runs/a:b")
    (12, '345', '/runs/a:b')
    """
    pid, _, rest = mark.partition(":")
    began, _, folder = rest.partition(":")
    return (int(pid), began, folder) if pid.isdigit() and folder else None
