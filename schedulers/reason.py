"""Reason codes: why something was decided, for programs; the sentence beside it is for people."""

from __future__ import annotations

from enum import StrEnum


class ReasonCode(StrEnum):
    """The kind of a reason. A custom rule need not set it: decisions have the code `RULE` by default.

    The values are written to journals: a member may be renamed, its value may not.
    """

    # of a decision on a trial
    RULE = "rule"
    """The trial scheduler's rule decided."""
    AUDITED = "audited"
    """The rule would have stopped the trial, as the reason says; an audit lets it run on."""
    TRIAL = "trial"
    """The trial itself finished, stopped early, diverged or raised."""
    OUT_OF_MEMORY = "out_of_memory"
    CONSTRAINT = "constraint"
    """The report breaks a constraint; no rule judged it."""
    DUPLICATE = "duplicate"
    """The result is that of an earlier trial with the same configuration; no rule judged the report."""
    WORKER_LOST = "worker_lost"
    TRIAL_TIMEOUT = "trial_timeout"
    """No epoch was reported for longer than `trial_timeout_s`."""
    NO_CHECKPOINT = "no_checkpoint"
    """There is no checkpoint to pause the trial with, or to copy."""
    GAVE_WAY = "gave_way"
    """The trial gave its slot to a waiting one."""
    MORE_EPOCHS = "more_epochs"
    """The study was given more epochs."""
    EXTERNAL = "external"
    """Something other than the rule and the trial ended the trial."""

    # of the end of an attempt, and of trials that ended with it
    ALL_ENDED = "all_ended"
    NOTHING_SUCCEEDED = "nothing_succeeded"
    STUDY_GOAL = "study_goal"
    """The sweep's own `stop` was reached."""
    TIME_BUDGET = "time_budget"
    MAX_FAILURES = "max_failures"
    REPEATED_ERROR = "repeated_error"
    NOT_FIT = "not_fit"
    """No trial can succeed."""
    NOT_PLACED = "not_placed"
    """No machine had room for a trial."""
    STOP_REQUESTED = "stop_requested"
    """A signal, or the program that runs the study, asked to stop."""
    JOURNAL_LOST = "journal_lost"
    RAY_ENDED = "ray_ended"
    """Ray ended the run before all trials had ended."""
    FAILED = "failed"
    """The driver raised an error."""


UNJUDGED = frozenset({ReasonCode.CONSTRAINT, ReasonCode.DUPLICATE})
"""Codes of reports that no rule judged."""
