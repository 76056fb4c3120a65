"""The errors of reports, in a module of their own, so that the command line need not import Optuna."""

from raysweep.errors import ExitCode, RaysweepError


class CannotReport(RaysweepError):
    """There is no study to report on, or none that can be read."""


class NothingFound(RaysweepError):
    """No trial of a study has reported, or all failed, so there is no winner and no ranking."""

    exit_code = ExitCode.NO_RESULT
