"""The data of a report's figures as plain numbers: curves, regret, lineage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from raysweep.report.subject import Subject
from raysweep.report.tables import busy_seconds
from raysweep.study.journal.records import TrialRecord

SHOWN = 200  # curves: the best, and an even choice of the rest; more would be unreadable, and megabytes
WIDE = 20.0  # ratio of the greatest value to the least, above which an axis is logarithmic
PREDICTED = ("predicted_final", "predicted_low", "predicted_high")


@dataclass(frozen=True, slots=True)
class Curve:
    """A learning curve in the user's direction, with the predictions of its final value.

    Attributes:
        predicted: (epoch, median, low, high); low and high equal the median if no range was given.
    """

    number: int
    outcome: str
    reason: str
    best: bool
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    predicted: tuple[tuple[int, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """The study after a trial's end: what had been spent, and the best so far.

    Attributes:
        trials: that had ended.
        epochs: run by then, over all trials.
        wall_s: since the study began.
        busy_s: of training, over all slots.
        best: in the user's direction.
        regret: how much worse than the best of the whole study, >= 0.
    """

    trials: int
    epochs: int
    wall_s: float
    busy_s: float
    best: float
    regret: float


@dataclass(frozen=True, slots=True)
class Copy:
    """One exploit: which trial copied which donor's weights, after which epoch."""

    epoch: int
    trial: int
    donor: int
    reason: str


def asks_for_log(values: Sequence[float]) -> bool:
    """Whether values are positive and so far apart that a linear axis would not separate the good ones.

    >>> asks_for_log([0.016, 0.6]), asks_for_log([0.1, 0.6]), asks_for_log([0.0, 1.0])
    (True, False, False)
    """
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) > WIDE


def curves(subject: Subject) -> list[Curve]:
    """The learning curves, the winner's last."""
    ranked = subject.ranked()
    best = ranked[0].trial if ranked else ""
    chosen = _spread([trial for trial in subject.trials if trial.curve], best)
    return sorted(
        (_curve(subject, trial, trial.trial == best) for trial in chosen), key=lambda curve: curve.best
    )


def _spread(trials: Sequence[TrialRecord], best: str) -> list[TrialRecord]:
    if len(trials) <= SHOWN:
        return list(trials)
    step = len(trials) / (SHOWN - 1)
    chosen = {trials[int(number * step)].trial for number in range(SHOWN - 1)} | {best}
    return [trial for trial in trials if trial.trial in chosen]


def _curve(subject: Subject, trial: TrialRecord, best: bool) -> Curve:
    sign = subject.sign
    predicted = tuple(
        (point.epoch, *(point.metrics.get(key, point.metrics[PREDICTED[0]]) for key in PREDICTED))
        for point in trial.curve
        if PREDICTED[0] in point.metrics
    )
    return Curve(
        number=trial.number,
        outcome=trial.status,
        reason=trial.reason,
        best=best,
        epochs=tuple(point.epoch for point in trial.curve),
        values=tuple(sign * point.loss for point in trial.curve),
        predicted=predicted,  # type: ignore[arg-type]  # three numbers follow the epoch
    )


def progress(subject: Subject) -> list[Progress]:
    """The best so far after each trial, in the order in which trials ended."""
    record, objective = subject.record, subject.record.objective
    ended = sorted(
        (trial for trial in subject.trials if trial.outcome is not None),
        key=lambda trial: (trial.ended_at or 0.0, trial.number),
    )
    times = sorted(point.t for trial in subject.trials for point in trial.curve)
    begun = record.begun_at if record.begun_at is not None else (times[0] if times else 0.0)
    whole = {trial.trial for trial in subject.ranked()}
    losses = [trial.objective_loss(objective) for trial in ended if trial.trial in whole]
    final = min((loss for loss in losses if loss is not None), default=math.nan)
    steps: list[Progress] = []
    best, busy, epochs = math.inf, 0.0, 0
    for count, trial in enumerate(ended, start=1):
        busy += busy_seconds(trial)
        loss = trial.objective_loss(objective)
        if trial.trial in whole and loss is not None:
            best = min(best, loss)
        at = trial.ended_at or 0.0
        while epochs < len(times) and times[epochs] <= at:
            epochs += 1
        if math.isfinite(best):
            steps.append(Progress(count, epochs, at - begun, busy, subject.sign * best, best - final))
    return steps


def copies(subject: Subject) -> list[Copy]:
    """All exploits of a population, in the order of their epochs."""
    exploits = [
        Copy(step.epoch, trial.number, int(step.donor), step.reason)
        for trial in subject.trials
        for step in trial.lineage
    ]
    return sorted(exploits, key=lambda copy: (copy.epoch, copy.trial))
