"""Learning curves that a plan replays: drawn from a stated prior, or from an earlier study's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from service.study.record import StudyRecord

PRIOR = (
    "c + (1 - c) exp(-k t) with noise of 3%: c log-normal about 0.3, k from 2 to 20 over the run, "
    "5% of trials diverge"
)
"""In words; t runs from 0 to 1. Nobody's tasks in particular: fast and slow learners, crossings included."""

DIVERGE = 0.05
NOISE = 0.03

Curves = list[list[float]]


def prior_curves(trials: int, epochs: int, rng: np.random.Generator) -> Curves:
    """Losses of so many trials, (trials, epochs), lower is better, by `PRIOR`.

    >>> curves = prior_curves(3, 10, np.random.default_rng(0))
    >>> len(curves), len(curves[0])
    (3, 10)
    """
    t = np.arange(1, epochs + 1) / epochs
    end = np.minimum(0.3 * np.exp(rng.normal(0, 0.5, (trials, 1))), 0.95)
    rate = np.exp(rng.uniform(math.log(2), math.log(20), (trials, 1)))
    losses = (end + (1 - end) * np.exp(-rate * t)) * (1 + rng.normal(0, NOISE, (trials, epochs)))
    for trial in np.flatnonzero(rng.random(trials) < DIVERGE):
        losses[trial, int(rng.integers(epochs)) :] = math.nan
    found: Curves = losses.tolist()
    return found


def whole_curves(record: StudyRecord) -> Curves:
    """The losses of an earlier study's completed trials, each as long as it was."""
    return [
        [point.loss for point in trial.curve]
        for trial in record.trials.values()
        if trial.outcome == "completed" and not trial.lineage and len(trial.curve) > 1
    ]


def like_curves(
    known: Sequence[Sequence[float]], trials: int, epochs: int, rng: np.random.Generator
) -> Curves:
    """So many of the known curves, drawn with replacement and stretched to so many epochs."""
    drawn = (known[int(place)] for place in rng.integers(len(known), size=trials))
    grid = np.linspace(0, 1, epochs)
    return [np.interp(grid, np.linspace(0, 1, len(curve)), curve).tolist() for curve in drawn]


def recorded_epoch_s(record: StudyRecord) -> list[float]:
    """Seconds of an epoch of each trial of an earlier study that said so: the median of its epochs."""
    found = []
    for trial in record.trials.values():
        said = [point.metrics["epoch_s"] for point in trial.curve if "epoch_s" in point.metrics]
        if said:
            found.append(float(np.median(said)))
    return found
