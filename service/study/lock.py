"""One command at a time writes to a study: a lock that names its holder and dies with it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StudyBusy(Exception):
    """Another live process holds the study; the message says which."""


@contextmanager
def lock(path: Path, command: str) -> Iterator[None]:
    """Hold the study for the length of the block.

    The kernel releases the lock when its holder dies, however it dies, so a stale one cannot exist
    on a local disk; what the file says of a dead holder is overwritten.

    Raises:
        StudyBusy: if a live process holds it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StudyBusy(_who(path)) from None
        os.ftruncate(fd, 0)
        who = {"pid": os.getpid(), "host": socket.gethostname(), "command": command}
        os.write(fd, json.dumps(who).encode())
        yield
    finally:
        os.close(fd)


def is_held(path: Path) -> bool:
    """Whether a live process holds the study now."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def _who(path: Path) -> str:
    try:
        who = json.loads(path.read_text())
        return f"{path.parent} is in use by {who['command']!r}, process {who['pid']} on {who['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{path.parent} is in use by another process"
