"""Every trial as the figures show it: stopped ones too, at the last value that they reached."""

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
"""Trials below which nothing is said of a comparison at the same epoch."""


@dataclass(frozen=True, slots=True)
class CommonEpoch:
    """All trials at the last epoch that each of them reached.

    Attributes:
        epoch: that epoch, >= 1.
        losses: by trial, of those that neither failed nor diverged; lower is better, by the objective.
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


def worth_points(subject: Subject) -> list[tuple[TrialRecord, float]]:
    """The trials that have a finite value, each with it, in the user's direction."""
    found = [(trial, subject.value(subject.worth(trial))) for trial in subject.trials]
    return [(trial, value) for trial, value in found if value is not None and math.isfinite(value)]


def at_common_epoch(subject: Subject) -> CommonEpoch | None:
    """The trials at the last epoch that all of them reached.

    None where no trial was stopped, so that their ends can be compared; where too few reported; and for
    a population, whose members changed their settings on the way.
    """
    if subject.is_population:
        return None
    told = [trial for trial in subject.trials if trial.curve and trial.outcome not in RANKS_NOWHERE]
    epoch = min((trial.epoch for trial in told), default=0)
    if len(told) < LEAST_AT_A_RUNG or epoch >= max(trial.epoch for trial in told):
        return None
    losses = {trial.trial: _loss_at(trial, epoch, subject.record.objective) for trial in told}
    finite = {name: loss for name, loss in losses.items() if math.isfinite(loss)}
    return CommonEpoch(epoch, finite) if len(finite) >= LEAST_AT_A_RUNG else None


def _loss_at(trial: TrialRecord, epoch: int, objective: str) -> float:
    before = [point.loss for point in trial.curve if point.epoch <= epoch]
    return before[-1] if objective == "last" else min(before)


def thinned(items: Sequence[Item], loss: Callable[[Item], float], most: int) -> list[Item]:
    """At most so many of trials, for a plot whose size grows with them: the best, and a seeded choice.

    Args:
        items: trials, or what stands for them.
        loss: of one; lower is better.
        most: how many; half of them are the best.
    """
    if len(items) <= most:
        return list(items)
    best = sorted(items, key=loss)
    return best[: most // 2] + random.Random(0).sample(best[most // 2 :], most - most // 2)


def training_spans(trial: TrialRecord) -> list[TrainingSpan]:
    """When a trial trained: its epochs by their own clock, those joined that follow one another at once."""
    found: list[TrainingSpan] = []
    usual = busy_seconds(trial) / len(trial.curve) if trial.curve else 0.0
    before = trial.started_at
    for point in trial.curve:
        took = point.metrics.get("epoch_s", math.nan)
        if not math.isfinite(took):
            took = point.t - before if before is not None else usual
            took = usual if took > PAUSE * usual else took
        begin, before = point.t - took, point.t
        joins = found and begin - found[-1].end <= max(usual, took)
        if joins:
            found[-1] = TrainingSpan(found[-1].begin, point.t, found[-1].first_epoch, point.epoch)
        else:
            found.append(TrainingSpan(begin, point.t, point.epoch, point.epoch))
    return found


def share_at_least_as_good(values: Sequence[float], sign: int) -> tuple[list[float], list[float]]:
    """The distribution of values, read from the good side.

    Args:
        values: in the user's direction.
        sign: 1 where less is better, -1 where more is.

    Returns:
        The values, best first, and for each the share of all that are at least as good, in (0, 1].

    >>> share_at_least_as_good([0.9, 0.5, 0.7, 0.7], -1)
    ([0.9, 0.7, 0.5], [0.25, 0.75, 1.0])
    """
    ordered = sorted(values, key=lambda value: sign * value)
    groups = [(value, len(list(same))) for value, same in itertools.groupby(ordered)]
    counts = itertools.accumulate(count for _, count in groups)
    return [value for value, _ in groups], [count / len(ordered) for count in counts]
