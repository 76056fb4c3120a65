"""The lock of a study: one process writes at a time, the file names it, and it is released when it dies."""

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
    """Another live process holds the study; the message names it."""


class CannotWrite(RaysweepError):
    """The study's folder cannot be written to: it is read-only, full, or another user's."""

    exit_code = ExitCode.UNREACHABLE


@contextmanager
def lock(path: Path, command: str) -> Iterator[None]:
    """Hold the study's lock for the length of the block.

    The kernel releases the lock when its holder dies, so there are no stale locks on a local disk. Text
    left in the file by a dead holder, or copied with the folder, is overwritten.

    Args:
        path: the lock file.
        command: the holder's command, for error messages.

    Raises:
        StudyBusy: if a live process holds the lock.
        CannotWrite: if the folder cannot be written to, or its file system supports no locks.
    """
    with writing_to(path.parent):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            with writing_to(path.parent):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StudyBusy(_busy_message(path)) from None
        holder = LockHolder(hide_passwords(command), os.getpid(), socket.gethostname(), time.time())
        with writing_to(path.parent):
            os.ftruncate(fd, 0)
            os.write(fd, json.dumps(holder._asdict()).encode())
        yield
    finally:
        os.close(fd)


def is_held(path: Path) -> bool:
    """Whether a live process holds the lock."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # read permission is enough
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
    """Turn an `OSError` of the block into a one-line `CannotWrite`."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        fix = "; free some space, then `launch.py resume`" if error.errno == errno.ENOSPC else ""
        raise CannotWrite(f"{folder}: cannot be written ({error.strerror}){fix}") from None


class LockHolder(NamedTuple):
    """The process that holds a study's lock, or held it last."""

    command: str
    pid: int
    host: str
    since: float


def read_holder(path: Path) -> LockHolder | None:
    """The holder that a lock file names; None if it cannot be read or names none."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return LockHolder(
            str(fields["command"]), int(fields["pid"]), str(fields["host"]), float(fields["since"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _busy_message(path: Path) -> str:
    holder = read_holder(path)
    if holder is None:
        return f"{path.parent} is in use by another process"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
    return (
        f"{path.parent} is in use by {holder.command!r}, process {holder.pid} on {holder.host}, since {since}"
    )
