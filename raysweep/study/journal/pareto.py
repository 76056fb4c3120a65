"""The Pareto front of a study: the trials that no other trial dominates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from raysweep.config.sweep import Metric
from raysweep.study.journal.records import CurvePoint, TrialRecord
from schedulers.outcome import RANKS_NOWHERE


def pareto_front(
    trials: Iterable[TrialRecord], metrics: Sequence[Metric], objective: str
) -> list[TrialRecord]:
    """The trials that no other trial dominates, best first by the first metric.

    A trial is compared by its values at its last or best epoch. Only completed trials are compared; while
    there is none, all that reported. Trials that diverged, failed, broke a constraint or lack a metric are
    on no front.

    Args:
        trials: of one study.
        metrics: to compare by; the first is the one the sweep optimises.
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
    for trial, values in judged:  # a trial that dominates another is sorted before it
        if not any(_dominates(other, values) for _, other in best):
            best.append((trial, values))
    return [trial for trial, _ in best]


def scored_point(trial: TrialRecord, objective: str) -> CurvePoint | None:
    """The point of a trial's curve that gives its score; None before the first."""
    epoch = trial.objective_epoch(objective)
    return next((point for point in reversed(trial.curve) if point.epoch == epoch), None)


def losses(trial: TrialRecord, metrics: Sequence[Metric], objective: str) -> list[float] | None:
    """A trial's value of each metric, lower is better; None if one is missing or not finite."""
    point = scored_point(trial, objective)
    values = [
        metric.sign * point.metrics.get(metric.name, math.nan) for metric in metrics if point is not None
    ]
    return values if values and all(map(math.isfinite, values)) else None


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
