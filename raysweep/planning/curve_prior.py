"""Learning curves that a plan replays, drawn from a stated prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raysweep.study.journal.records import StudyRecord

PRIOR = (
    "half of the replays: recorded MLP trainings on one of six tables, half: c + (1 - c) exp(-k t), "
    "c log-normal about 0.3, k from 2 to 20 over the run, 5% of trials diverging (docs/before.md)"
)
"""In words; t runs from 0 to 1. The formula, with its own spread of c, noise and correlation of c and k in
each replay, has the spread of final losses, the noise and the agreement of early and late ranks of the
recorded trainings (Spearman 0.43 to 0.94 between epochs 3 and 27), but not their late drops. How often its
intervals hold: `benchmarks/truth.py prior`."""

RECORDED = Path(__file__).with_name("recorded_curves.npz")
"""ln(validation loss), (configurations, epochs) for each data set, NaN from where a training diverged; by
benchmarks/tables.py."""

DIVERGE = 0.05
SPREAD, NOISE, ALIKE = (0.25, 0.95), (0.0005, 0.02), (0.4, 1.0)

POOL = 16
"""Curves drawn for each trial; a sampler that learns finds its better ones among them."""

Array = NDArray[np.float64]
Curves = list[list[float]]
Draw = Callable[[int, int, np.random.Generator], Curves]
"""(trials, epochs, generator) -> curves."""


@cache
def recorded_tables() -> Mapping[str, Array]:
    """ln(loss) of the recorded trainings by data set, (configurations, epochs) each."""
    with np.load(RECORDED, allow_pickle=False) as file:
        return {name: file[name].astype(np.float64) for name in file.files}


def prior_curves(
    trials: int, epochs: int, rng: np.random.Generator, *, tables: Sequence[Array] | None = None
) -> Curves:
    """Draw losses of random configurations from `PRIOR`: all of one recorded table, or all by the formula.

    Args:
        trials: number of curves.
        epochs: of each.
        rng: the source of randomness.
        tables: ln(loss), (configurations, epochs) each; `recorded_tables` if None.

    Returns:
        Losses, (trials, epochs), lower is better.

    >>> curves = prior_curves(3, 10, np.random.default_rng(0))
    >>> len(curves), len(curves[0])
    (3, 10)
    """
    tables = list(recorded_tables().values()) if tables is None else tables
    if rng.random() < 0.5:
        return formula_curves(trials, epochs, rng)
    curves = [stretched(row, epochs) for row in np.exp(tables[int(rng.integers(len(tables)))])]
    return [curves[index] for index in rng.integers(len(curves), size=trials)]


def stretched(curve: Sequence[float], epochs: int) -> list[float]:
    """Stretch or shorten a curve to so many epochs: its first and its last stay, between them it is linear.

    >>> stretched([4.0, 3.0, 2.0], 5)
    [4.0, 3.5, 3.0, 2.5, 2.0]
    """
    drawn: list[float] = np.interp(np.linspace(0, 1, epochs), np.linspace(0, 1, len(curve)), curve).tolist()
    return drawn


def formula_curves(trials: int, epochs: int, rng: np.random.Generator) -> Curves:
    """Draw losses, (trials, epochs), by the formula of `PRIOR`."""
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
