"""What keeps a report from being made; apart, for the command line imports no Optuna."""

from raysweep.errors import ExitCode, RaysweepError


class CannotReport(RaysweepError):
    """There is nothing to report on: no study, or none that can be read. Says what, and what to do."""


class NothingFound(RaysweepError):
    """A study in which no trial has reported, or every one failed: no winner, no ranking."""

    exit_code = ExitCode.NO_RESULT
