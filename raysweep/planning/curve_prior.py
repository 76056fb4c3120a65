"""Learning curves that a plan replays: drawn from a stated prior, or from an earlier study's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from raysweep.study.journal.records import StudyRecord

PRIOR = (
    "c + (1 - c) exp(-k t): c log-normal about 0.3, k from 2 to 20 over the run, 5% of trials diverge; each "
    "replay has its own spread of c (0.25 to 0.95), noise (0.05% to 2%) and correlation of c and k (0.4 to 1)"
)
"""In words; t runs from 0 to 1. Of MLPs on six recorded tables (benchmarks/tables) it has the spread of the
final losses, the noise, and how well epoch 3 of 27 predicts the order at the end (Spearman 0.43 to 0.94)."""

DIVERGE = 0.05
SPREAD, NOISE, ALIKE = (0.25, 0.95), (0.0005, 0.02), (0.4, 1.0)

POOL = 16
"""Times as many curves as trials: what a sampler that learns can find its better ones in."""

Curves = list[list[float]]
Draw = Callable[[int, int, np.random.Generator], Curves]
"""(trials, epochs, generator) -> curves."""


def prior_curves(trials: int, epochs: int, rng: np.random.Generator) -> Curves:
    """Losses of so many trials, (trials, epochs), lower is better, by `PRIOR`.

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
    found: Curves = losses.tolist()
    return found


def searched_curves(draw: Draw, startup: int, zeal: float) -> Draw:
    """The same curves in the order in which a sampler finds them that learns from its trials.

    Trial i after the start-up is the best of `zeal` * (i - startup) random ones, in distribution: its
    quantile among random configurations is Beta(1, that). TPE on recorded tables goes with 0.5 to 1
    (docs/before.md).

    Args:
        draw: gives the curves of random configurations.
        startup: trials that are drawn at random.
        zeal: how much is learnt from a trial; 0 for a sampler that learns nothing.
    """

    def found(trials: int, epochs: int, rng: np.random.Generator) -> Curves:
        pool = sorted(draw(POOL * trials, epochs, rng), key=_worth)
        curves = []
        for trial in range(trials):
            beaten = max(1.0, zeal * (trial - startup))
            quantile = 1 - (1 - rng.random()) ** (1 / beaten)
            curves.append(pool.pop(int(quantile * len(pool))))
        return curves

    return found


def _worth(curve: Sequence[float]) -> float:
    """By what curves are ranked: the final loss; of one that diverged nothing is worse."""
    return curve[-1] if math.isfinite(curve[-1]) else math.inf


def recorded_epoch_s(record: StudyRecord) -> list[float]:
    """Seconds of an epoch of each trial of an earlier study that said so: the median of its epochs."""
    found = []
    for trial in record.trials.values():
        said = [point.metrics["epoch_s"] for point in trial.curve if "epoch_s" in point.metrics]
        if said:
            found.append(float(np.median(said)))
    return found
