"""What keeps a report from being made; apart, for the command line imports no Optuna."""


class CannotReport(Exception):
    """There is nothing to report on: no study, or none that can be read. Says what, and what to do."""


class NothingFound(Exception):
    """A study in which no trial has reported, or every one failed: no winner, no ranking."""
