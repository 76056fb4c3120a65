"""A search as a trajectory: its trials in the order of their ends, resampled, cut at a budget, tested."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysweep.report.subject import Subject

DRAWS = 1000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trajectory:
    """A sweep's trials in the order of their ends, as arrays.

    Attributes:
        losses: of each; infinity for an unranked trial. (trials,)
        epochs: that each has run. (trials,)
    """

    losses: Floats
    epochs: Floats


def trajectory(subject: Subject, *, sampled_only: bool = False) -> Trajectory:
    """The ended trials of a study, in the order in which they ended.

    Args:
        subject: the study.
        sampled_only: leave out trials that no sampler drew: the baseline, and given points.
    """
    counted = {trial.trial for trial in subject.ranked()}
    ended = sorted(
        (
            trial
            for trial in subject.trials
            if (trial.outcome is not None or trial.trial in counted)
            and (trial.source == "sampler" or not sampled_only)
        ),
        key=lambda trial: (trial.ended_at or math.inf, trial.number),
    )
    losses = [
        loss if trial.trial in counted and (loss := subject.loss(trial)) is not None else math.inf
        for trial in ended
    ]
    return Trajectory(np.array(losses, dtype=float), np.array([float(trial.work) for trial in ended]))


def within(course: Trajectory, budget: float) -> Trajectory:
    """The trials that had ended when `budget` epochs were spent."""
    count = int((np.cumsum(course.epochs) <= budget).sum())
    return Trajectory(course.losses[:count], course.epochs[:count])


def resampled(course: Trajectory, seed: int) -> tuple[Floats, Floats]:
    """The best so far and the epochs spent, (draws, trials) each, of orders drawn with replacement."""
    if not len(course.losses):
        return np.full((DRAWS, 1), math.inf), np.full((DRAWS, 1), math.inf)
    drawn = np.random.default_rng(seed).integers(len(course.losses), size=(DRAWS, len(course.losses)))
    return np.minimum.accumulate(course.losses[drawn], axis=1), np.cumsum(course.epochs[drawn], axis=1)


def at_budget(best: Floats, spent: Floats, budget: float) -> Floats:
    """The best so far of each order, (draws,), once `budget` is spent; infinity if no trial fits in."""
    done = (spent <= budget).sum(axis=1)
    return np.where(done > 0, best[np.arange(len(best)), np.maximum(done - 1, 0)], math.inf)


def precedence(better: Floats, worse: Floats) -> tuple[int, float]:
    """How many of `better` lie below all of `worse`, and the probability of so many if the two are equal.

    The precedence test, two-sided: Nelson, Technometrics 5 (1963) 491. Trials must be independent, as those
    of random search are; those of an adaptive search crowd in good regions, which makes the test too lenient.

    >>> precedence(np.array([0.1, 0.2, 0.9]), np.array([0.3, 0.4, 0.5]))
    (2, 0.4)
    """
    ahead = int((better < worse.min(initial=math.inf)).sum())
    total = len(better) + len(worse)
    return ahead, min(2 * math.comb(len(better), ahead) / math.comb(total, ahead), 1.0)
