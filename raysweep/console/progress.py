"""A study's progress, computed from its record alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raysweep.config.sweep import Metric
from raysweep.study.journal.records import StudyRecord, TrialRecord

LEAST_S = 5.0  # after an attempt's first report, before the time left is estimated


@dataclass(frozen=True, slots=True)
class Facts:
    """What a view needs to know about a sweep, beyond its record.

    Attributes:
        name: study name.
        metric: name of the metric that decides.
        sign: -1 if it is maximised, else 1; a loss times this is a value of the user's metric.
        epochs: R, epochs of a whole trial.
        wanted: trials asked for.
        audited: whether the trial scheduler is audited.
        metrics: all metrics that trials are compared by, the first being `metric`.
        baseline: what the baseline is, in words.
    """

    name: str
    metric: str
    sign: int
    epochs: int
    wanted: int
    audited: bool = False
    metrics: tuple[Metric, ...] = ()
    baseline: str = "the run as it is"

    def value(self, loss: float | None) -> float | None:
        """The user's metric for a loss (lower is better)."""
        return None if loss is None else self.sign * loss


@dataclass(frozen=True, slots=True)
class TrialProgress:
    """A trial: its number, an epoch (0 before the first report), its value there, and its parameters."""

    number: int
    epoch: int
    value: float | None
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """A study at one moment.

    Attributes:
        counts: trials by status.
        ended: trials that are over, however they ended.
        running: the running trials, at their last reported epochs.
        best: the best trial so far, at the epoch of its objective.
        epochs_run: epochs trained, by all trials.
        epochs_saved: epochs not run because the trial scheduler stopped their trials.
        elapsed_s: seconds since this attempt began.
        left_s: estimate of the seconds left; None if nothing is left, or there is no estimate yet.
    """

    counts: Mapping[str, int]
    ended: int
    running: tuple[TrialProgress, ...]
    best: TrialProgress | None
    epochs_run: int
    epochs_saved: int
    elapsed_s: float
    left_s: float | None


def progress(
    record: StudyRecord, facts: Facts, *, elapsed_s: float, epochs_before: int = 0, first_s: float = 0.0
) -> Progress:
    """Compute a study's progress from its record.

    Args:
        record: the study so far.
        facts: of its sweep.
        elapsed_s: seconds since this attempt began.
        epochs_before: epochs trained in earlier attempts; they do not count towards this one's speed.
        first_s: seconds until this attempt's first report, in which Ray started; they do not count either.
    """
    trials = record.trials.values()
    ended = [trial for trial in trials if trial.outcome is not None]
    return Progress(
        counts=record.counts(),
        ended=len(ended),
        running=tuple(
            TrialProgress(trial.number, trial.epoch, facts.value(trial.last_loss), dict(trial.config))
            for trial in trials
            if trial.status == "running"
        ),
        best=_best(record, facts),
        epochs_run=record.epochs,
        epochs_saved=sum(trial.epochs_saved(facts.epochs) for trial in trials),
        elapsed_s=elapsed_s,
        left_s=_left_s(
            record, facts, ended, elapsed_s - first_s, record.epochs - epochs_before - (first_s > 0)
        ),
    )


def _best(record: StudyRecord, facts: Facts) -> TrialProgress | None:
    trial = record.best()
    if trial is None:
        return None
    value = trial.objective_value(record.objective, facts.sign)
    return TrialProgress(trial.number, trial.objective_epoch(record.objective), value, dict(trial.config))


def _left_s(
    record: StudyRecord, facts: Facts, ended: list[TrialRecord], elapsed_s: float, epochs_now: int
) -> float | None:
    """Seconds left, if the trials to come take as many epochs as those that ended, at the speed so far.

    None in the first seconds: several epochs may be reported at once, so the speed is not known yet.
    """
    if epochs_now <= 0 or elapsed_s < LEAST_S:
        return None
    each = sum(trial.work for trial in ended) / len(ended) if ended else float(facts.epochs)
    under_way = [trial for trial in record.trials.values() if trial.outcome is None]
    to_come = max(facts.wanted - len(ended) - len(under_way), 0)
    epochs = to_come * each + sum(max(each - trial.work, 0.0) for trial in under_way)
    return epochs * elapsed_s / epochs_now if epochs else None
