"""Trials as the figures show them, stopped ones included, at the last value that they reached."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from raysweep.report.subject import Subject
from raysweep.report.tables import PAUSE, busy_seconds
from raysweep.study.journal.records import TrialRecord
from schedulers.outcome import RANKS_NOWHERE

Item = TypeVar("Item")
LEAST_AT_A_RUNG = 10
"""Trials, below which they are not compared at the same epoch."""


@dataclass(frozen=True, slots=True)
class CommonEpoch:
    """All trials at the last epoch that each of them reached.

    Attributes:
        epoch: that epoch, >= 1.
        losses: by trial, without those that failed or diverged; lower is better, by the objective.
    """

    epoch: int
    losses: dict[str, float]


@dataclass(frozen=True, slots=True)
class TrainingSpan:
    """A stretch of time in which a trial trained without a break, in seconds since the epoch (Unix time)."""

    begin: float
    end: float
    first_epoch: int
    last_epoch: int


def value_points(subject: Subject) -> list[tuple[TrialRecord, float]]:
    """The trials with a finite value, and that value in the user's direction."""
    pairs = [(trial, subject.value(subject.loss(trial))) for trial in subject.trials]
    return [(trial, value) for trial, value in pairs if value is not None and math.isfinite(value)]


def at_common_epoch(subject: Subject) -> CommonEpoch | None:
    """The trials at the last epoch that all of them reached.

    None if no trial was stopped, so that their ends can be compared; if too few reported; and for a
    population, whose members changed their settings on the way.
    """
    if subject.is_population:
        return None
    reported = [trial for trial in subject.trials if trial.curve and trial.outcome not in RANKS_NOWHERE]
    epoch = min((trial.epoch for trial in reported), default=0)
    if len(reported) < LEAST_AT_A_RUNG or epoch >= max(trial.epoch for trial in reported):
        return None
    losses = {trial.trial: _loss_at(trial, epoch, subject.record.objective) for trial in reported}
    finite = {name: loss for name, loss in losses.items() if math.isfinite(loss)}
    return CommonEpoch(epoch, finite) if len(finite) >= LEAST_AT_A_RUNG else None


def _loss_at(trial: TrialRecord, epoch: int, objective: str) -> float:
    before = [point.loss for point in trial.curve if point.epoch <= epoch]
    return before[-1] if objective == "last" else min(before)


def thinned(items: Sequence[Item], loss: Callable[[Item], float], most: int) -> list[Item]:
    """At most `most` trials for a plot: the best, and a seeded choice of the rest.

    Args:
        items: trials, or what represents them.
        loss: of one; lower is better.
        most: how many; half of them are the best.
    """
    if len(items) <= most:
        return list(items)
    best = sorted(items, key=loss)
    return best[: most // 2] + random.Random(0).sample(best[most // 2 :], most - most // 2)


def training_spans(trial: TrialRecord) -> list[TrainingSpan]:
    """When a trial trained: its epochs by their own clock, joined if they follow one another directly."""
    spans: list[TrainingSpan] = []
    usual = busy_seconds(trial) / len(trial.curve) if trial.curve else 0.0
    before = trial.started_at
    for point in trial.curve:
        seconds = point.metrics.get("epoch_s", math.nan)
        if not math.isfinite(seconds):
            seconds = point.t - before if before is not None else usual
            seconds = usual if seconds > PAUSE * usual else seconds
        begin, before = point.t - seconds, point.t
        joins = spans and begin - spans[-1].end <= max(usual, seconds)
        if joins:
            spans[-1] = TrainingSpan(spans[-1].begin, point.t, spans[-1].first_epoch, point.epoch)
        else:
            spans.append(TrainingSpan(begin, point.t, point.epoch, point.epoch))
    return spans


def share_at_least_as_good(values: Sequence[float], sign: int) -> tuple[list[float], list[float]]:
    """The distribution of values, from the best on.

    Args:
        values: in the user's direction.
        sign: 1 if less is better, -1 if more is.

    Returns:
        The values, best first, and for each the share of all that are at least as good, in (0, 1].

    >>> share_at_least_as_good([0.9, 0.5, 0.7, 0.7], -1)
    ([0.9, 0.7, 0.5], [0.25, 0.75, 1.0])
    """
    ordered = sorted(values, key=lambda value: sign * value)
    groups = [(value, len(list(same))) for value, same in itertools.groupby(ordered)]
    counts = itertools.accumulate(count for _, count in groups)
    return [value for value, _ in groups], [count / len(ordered) for count in counts]
