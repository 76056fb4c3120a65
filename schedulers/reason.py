"""Why something was decided, as a value that programs read; the sentence beside it is for people."""

from __future__ import annotations

from enum import StrEnum


class ReasonCode(StrEnum):
    """The kind of a reason. A rule of one's own need not set it: what it decides is `RULE`.

    The values are words of the journal: a member may be renamed, its value may not.
    """

    # of a decision on a trial
    RULE = "rule"
    """The trial scheduler's rule decided so."""
    AUDITED = "audited"
    """The rule would have stopped the trial, as the reason says; an audit lets it run on."""
    TRIAL = "trial"
    """The trial itself: it finished, lost patience, diverged or raised."""
    OUT_OF_MEMORY = "out_of_memory"
    CONSTRAINT = "constraint"
    """What the trial reported breaks a constraint; no rule judged that report."""
    DUPLICATE = "duplicate"
    """It has the result of an earlier trial of the same configuration; no rule judged that report."""
    WORKER_LOST = "worker_lost"
    TRIAL_TIMEOUT = "trial_timeout"
    """No epoch came for longer than `trial_timeout_s`."""
    NO_CHECKPOINT = "no_checkpoint"
    """There is no checkpoint to pause it with, or to copy."""
    GAVE_WAY = "gave_way"
    """It left its slot to a trial that waits."""
    MORE_EPOCHS = "more_epochs"
    """The study was given more epochs."""
    EXTERNAL = "external"
    """Something other than the rule and the trial ended it."""

    # of the end of an attempt; of a trial where it ended with the attempt
    ALL_ENDED = "all_ended"
    NOTHING_SUCCEEDED = "nothing_succeeded"
    STUDY_GOAL = "study_goal"
    """The sweep's own `stop` was reached."""
    TIME_BUDGET = "time_budget"
    MAX_FAILURES = "max_failures"
    REPEATED_ERROR = "repeated_error"
    NOT_FIT = "not_fit"
    """No trial could have gone well."""
    NOT_PLACED = "not_placed"
    """No machine had room for a trial."""
    STOP_REQUESTED = "stop_requested"
    """A signal, or the program that runs the study."""
    JOURNAL_LOST = "journal_lost"
    RAY_ENDED = "ray_ended"
    """Ray ended the run before every trial had ended."""
    FAILED = "failed"
    """The driver raised an error."""


UNJUDGED = frozenset({ReasonCode.CONSTRAINT, ReasonCode.DUPLICATE})
"""Codes of reports that no rule was asked about."""
