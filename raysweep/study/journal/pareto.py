"""The Pareto front of a study: trials than which none is better in one metric and as good in the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from raysweep.config.sweep import Metric
from raysweep.study.journal.records import CurvePoint, TrialRecord
from schedulers.outcome import RANKS_NOWHERE


def front(trials: Iterable[TrialRecord], metrics: Sequence[Metric], objective: str) -> list[TrialRecord]:
    """The trials that no other trial dominates, best first by the first metric.

    A trial counts with its values at the epoch that counts, its last or its best. Completed trials are
    compared among themselves; while there is none, all that reported are. Trials that diverged, failed
    or broke a constraint, or lack a metric, are on no front.

    Args:
        trials: of one study.
        metrics: what they are judged by; the first is the objective.
        objective: `last` or `best`.
    """
    judged = [
        (trial, values)
        for trial in trials
        if trial.outcome not in RANKS_NOWHERE and (values := losses(trial, metrics, objective)) is not None
    ]
    judged = [each for each in judged if each[0].outcome == "completed"] or judged
    judged.sort(key=lambda each: (each[1], each[0].number))
    best: list[tuple[TrialRecord, list[float]]] = []
    for trial, values in judged:  # whoever dominates it comes before it, and so does one on the front
        if not any(_dominates(other, values) for _, other in best):
            best.append((trial, values))
    return [trial for trial, _ in best]


def counted(trial: TrialRecord, objective: str) -> CurvePoint | None:
    """The point of its curve that a trial is judged by; None before the first."""
    epoch = trial.worth_epoch(objective)
    return next((point for point in reversed(trial.curve) if point.epoch == epoch), None)


def losses(trial: TrialRecord, metrics: Sequence[Metric], objective: str) -> list[float] | None:
    """A trial's value of each metric, lower is better; None if one is missing or not finite."""
    point = counted(trial, objective)
    values = [
        metric.sign * point.metrics.get(metric.name, math.nan) for metric in metrics if point is not None
    ]
    return values if values and all(map(math.isfinite, values)) else None


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(mine <= its for mine, its in zip(one, other, strict=True))
