"""Learning curves that a plan replays, drawn from a stated prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from raysweep.study.journal.records import StudyRecord

PRIOR = (
    "c + (1 - c) exp(-k t): c log-normal about 0.3, k from 2 to 20 over the run, 5% of trials diverge; each "
    "replay has its own spread of c (0.25 to 0.95), noise (0.05% to 2%) and correlation of c and k (0.4 to 1)"
)
"""In words; t runs from 0 to 1. Its spread of final losses, its noise, and how well epoch 3 of 27 predicts
the final order (Spearman 0.43 to 0.94) are those of MLPs on six recorded tables (benchmarks/tables)."""

DIVERGE = 0.05
SPREAD, NOISE, ALIKE = (0.25, 0.95), (0.0005, 0.02), (0.4, 1.0)

POOL = 16
"""Curves drawn for each trial; a sampler that learns finds its better ones among them."""

Curves = list[list[float]]
Draw = Callable[[int, int, np.random.Generator], Curves]
"""(trials, epochs, generator) -> curves."""


def prior_curves(trials: int, epochs: int, rng: np.random.Generator) -> Curves:
    """Draw the losses of trials from `PRIOR`, (trials, epochs), lower is better.

    >>> curves = prior_curves(3, 10, np.random.default_rng(0))
    >>> len(curves), len(curves[0])
    (3, 10)
    """
    t = np.arange(1, epochs + 1) / epochs
    alike, spread = rng.uniform(*ALIKE), rng.uniform(*SPREAD)
    noise = math.exp(rng.uniform(math.log(NOISE[0]), math.log(NOISE[1])))
    worse, slower = rng.normal(size=(2, trials, 1))
    slower = alike * worse + math.sqrt(1 - alike**2) * slower
    end = np.minimum(0.3 * np.exp(spread * worse), 0.95)
    rate = 2 * 10 ** (0.5 * (1 + np.vectorize(math.erf)(-slower / math.sqrt(2))))
    losses = (end + (1 - end) * np.exp(-rate * t)) * (1 + rng.normal(0, noise, (trials, epochs)))
    for trial in np.flatnonzero(rng.random(trials) < DIVERGE):
        losses[trial, int(rng.integers(epochs)) :] = math.nan
    curves: Curves = losses.tolist()
    return curves


def searched_curves(draw: Draw, startup: int, zeal: float) -> Draw:
    """Curves in the order in which a sampler that learns from its trials would find them.

    Trial i after the start-up is distributed as the best of `zeal` * (i - startup) random ones: its quantile
    among random configurations is Beta(1, that number). 0.5 to 1 fits TPE on recorded tables
    (docs/before.md).

    Args:
        draw: draws the curves of random configurations.
        startup: trials that are drawn at random.
        zeal: how much is learnt from a trial; 0 for a sampler that learns nothing.
    """

    def draw_in_order(trials: int, epochs: int, rng: np.random.Generator) -> Curves:
        pool = sorted(draw(POOL * trials, epochs, rng), key=_final_loss)
        curves = []
        for trial in range(trials):
            beaten = max(1.0, zeal * (trial - startup))
            quantile = 1 - (1 - rng.random()) ** (1 / beaten)
            curves.append(pool.pop(int(quantile * len(pool))))
        return curves

    return draw_in_order


def _final_loss(curve: Sequence[float]) -> float:
    """The final loss; infinite for a curve that diverged."""
    return curve[-1] if math.isfinite(curve[-1]) else math.inf


def recorded_epoch_s(record: StudyRecord) -> list[float]:
    """The median seconds of an epoch of each trial of an earlier study that reported them."""
    medians = []
    for trial in record.trials.values():
        times = [point.metrics["epoch_s"] for point in trial.curve if "epoch_s" in point.metrics]
        if times:
            medians.append(float(np.median(times)))
    return medians
