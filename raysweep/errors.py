"""The errors that a user can fix, and the exit codes of the command."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from trainables.run_config import RunError


class ExitCode(IntEnum):
    """The command's exit codes; `--help` and the README print their `meaning`."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> ExitCode:
        """Keep the meaning beside the number."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "done"
    INTERNAL = 1, "internal error"
    USAGE = 2, "invalid command or sweep file"
    PREFLIGHT = 3, "preflight failed"
    NO_RESULT = 4, "no trial succeeded"
    FAILURE_LIMIT = 5, "failure limit exceeded"
    UNREACHABLE = 6, "a trial fits on no machine, a folder cannot be written, or a cluster cannot be reached"
    OUT_OF_TIME = 7, "budget ended before any trial finished"
    INTERRUPTED = 130, "interrupted, resumable"


class RaysweepError(Exception):
    """An error that a user can fix; its text has one line for each problem, and no traceback is shown."""

    exit_code: ClassVar[ExitCode] = ExitCode.USAGE


USER_ERRORS = (RaysweepError, RunError)
"""All errors that a user can fix; `RunError` is of `trainables`, which imports nothing of raysweep."""


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code of one of the `USER_ERRORS`."""
    return error.exit_code if isinstance(error, RaysweepError) else ExitCode.USAGE


def exit_codes_text() -> str:
    """All codes and their meanings, in one line.

    >>> exit_codes_text().split(" · ")[-1]
    '130 interrupted, resumable'
    """
    return " · ".join(f"{code.value} {code.meaning}" for code in ExitCode)
