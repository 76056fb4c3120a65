"""Standard streams that never raise: not for a lost terminal, a closed pipe or an ASCII locale."""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

VANISHED = (errno.EPIPE, errno.EIO, errno.EBADF)  # the reader is gone, so the output is not missed


class ForgivingFile(io.RawIOBase):
    """Writes to a file descriptor and never raises: after an error it drops all output.

    Attributes:
        error: the first error of a write.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.error: OSError | None = None

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The file descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: Buffer, /) -> int:
        """Write `data`, or drop it after an error."""
        length = memoryview(data).nbytes
        while self.error is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # a pipe that another process has made non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.error = error
        return length


def protect_streams() -> list[ForgivingFile]:
    """Make this process independent of its terminal. Call it once, before any file is opened.

    Closed standard streams are opened on the null device, so that no file of a study gets their descriptor.
    Characters that the locale lacks are written as escapes. A hang-up (SIGHUP, when an ssh connection
    drops) is ignored by this process and its children.

    Returns:
        Standard output and standard error, for `unwritten`.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as we are
    files = []
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        before, file = getattr(sys, name), ForgivingFile(descriptor)
        encoding = before.encoding if before else "utf-8"
        lines = name == "stderr" or file.isatty()
        stream = io.TextIOWrapper(io.BufferedWriter(file), encoding, "backslashreplace", line_buffering=lines)
        setattr(sys, name, stream)
        files.append(file)
    return files


def unwritten(files: list[ForgivingFile]) -> str:
    """Why output was lost although it had a reader (as on a full disk), in one line; "" if none was."""
    sys.stdout.flush()
    lost = next((file.error for file in files if file.error and file.error.errno not in VANISHED), None)
    return f"the output could not be written: {lost.strerror}" if lost else ""
