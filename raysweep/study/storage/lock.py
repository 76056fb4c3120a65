"""One command at a time writes to a study: a lock that names its holder and dies with it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from raysweep.errors import ExitCode, RaysweepError
from raysweep.study.storage.secrets import hide_passwords


class StudyBusy(RaysweepError):
    """Another live process holds the study; the message says which."""


class CannotWrite(RaysweepError):
    """The study's folder cannot be written to: read-only, full, somebody else's. One line."""

    exit_code = ExitCode.UNREACHABLE


@contextmanager
def lock(path: Path, command: str) -> Iterator[None]:
    """Hold the study for the length of the block.

    The kernel releases the lock when its holder dies, however it dies, so a stale one cannot exist
    on a local disk; what the file says of a dead holder, or of one that held the folder this one was
    copied from, is overwritten.

    Raises:
        StudyBusy: if a live process holds it.
        CannotWrite: if the folder cannot be written to, or its file system knows no locks.
    """
    with writing_to(path.parent):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            with writing_to(path.parent):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StudyBusy(_who(path)) from None
        who = LockHolder(hide_passwords(command), os.getpid(), socket.gethostname(), time.time())
        with writing_to(path.parent):
            os.ftruncate(fd, 0)
            os.write(fd, json.dumps(who._asdict()).encode())
        yield
    finally:
        os.close(fd)


def is_held(path: Path) -> bool:
    """Whether a live process holds the study now."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # whoever may read a study may ask
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


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Say in one line what the disk says."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        free = "; `launch.py resume` carries on once there is room" if error.errno == errno.ENOSPC else ""
        raise CannotWrite(f"{folder}: cannot be written ({error.strerror}){free}") from None


class LockHolder(NamedTuple):
    """Who holds a study, or held it last, as its lock file says."""

    command: str
    pid: int
    host: str
    since: float


def read_holder(path: Path) -> LockHolder | None:
    """Who a lock file names; None if it says nothing of the kind."""
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return LockHolder(str(who["command"]), int(who["pid"]), str(who["host"]), float(who["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _who(path: Path) -> str:
    holder = read_holder(path)
    if holder is None:
        return f"{path.parent} is in use by another process"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
    return (
        f"{path.parent} is in use by {holder.command!r}, process {holder.pid} on {holder.host}, since {since}"
    )
