"""An earlier study's learning curves for a plan, including those that were cut off, which are continued.

The whole curves of a study with a stopping scheduler are survivors; a plan based on them alone would be one
for good trials only. A stopped trial is therefore continued by the curve model of PFL
(`schedulers.curve_model`): its final loss is drawn from the model's forecast, anew each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raysweep.planning.curve_prior import Curves, stretched
from raysweep.study.journal.records import StudyRecord
from schedulers.curve_model import (
    ENOUGH,
    Array,
    Decay,
    Forecast,
    LossScale,
    Predictor,
    decay,
    ladder,
    spreads,
)

NO_CURVE = ("failed", "infeasible")
"""Outcomes of trials whose curves are not used."""

SPREAD = 0.1
"""Standard deviation of a draw around a trial's own position, as a share of the earlier study."""


@dataclass(frozen=True, slots=True)
class EarlierCurve:
    """One trial of an earlier study.

    Attributes:
        losses: each epoch; NaN from a divergence to the end.
        cut_off: whether the trial was stopped, or is still running.
    """

    losses: tuple[float, ...]
    cut_off: bool

    @property
    def is_finished(self) -> bool:
        """Whether the last loss is the final one of a whole trial."""
        return not self.cut_off and math.isfinite(self.losses[-1])


def earlier_curves(record: StudyRecord) -> list[EarlierCurve]:
    """The curves of a study's trials in the order of their numbers; [] if there are too few.

    Failed trials and those that copied others are left out. If trials were cut off, `ENOUGH` finished ones
    are needed to continue them.
    """
    trials = [trial for trial in record.trials.values() if trial.curve and not trial.lineage]
    epochs = max((len(trial.curve) for trial in trials if trial.outcome == "completed"), default=0)
    curves = []
    for trial in trials:
        losses = tuple(point.loss for point in trial.curve if math.isfinite(point.loss))
        if trial.outcome == "diverged":
            losses += (math.nan,) * (epochs - len(losses))
        cut_off = trial.outcome not in ("completed", "diverged")
        if trial.outcome not in NO_CURVE and losses and (not cut_off or len(losses) < epochs):
            curves.append(EarlierCurve(losses, cut_off))
    finished = sum(curve.is_finished for curve in curves)
    return curves if finished >= (ENOUGH if any(curve.cut_off for curve in curves) else 1) else []


def in_words(curves: Sequence[EarlierCurve]) -> str:
    """A description of the curves."""
    cut_off = sum(curve.cut_off for curve in curves)
    whole = f"{len(curves) - cut_off} whole ones of the earlier study, in its order"
    if not cut_off:
        return whole
    return f"{whole}, and {cut_off} that were cut off, continued by the curve model of PFL"


class EarlierDraw:
    """Draws from an earlier study's curves roughly in their order, stretched to the epochs of the new run.

    The order preserves what the earlier study's sampler learnt from one trial to the next.

    Args:
        curves: of the earlier study; not empty.
    """

    def __init__(self, curves: Sequence[EarlierCurve]) -> None:
        self.curves = curves
        self.epochs = max(len(curve.losses) for curve in curves)
        self.forecasts: dict[int, Forecast] = {}
        if any(curve.cut_off for curve in curves):
            self._fit()

    def __call__(self, trials: int, epochs: int, rng: np.random.Generator) -> Curves:
        """Draw curves, (trials, epochs)."""
        count = len(self.curves)
        positions = (np.arange(trials) + 0.5) / trials + rng.normal(0, SPREAD, trials)
        positions = 1 - np.abs(1 - np.abs(positions) % 2)  # reflected at both ends
        drawn = []
        for index in np.minimum(positions * count, count - 1).astype(int).tolist():
            curve = self.curves[index]
            losses = self._continued(index, rng) if curve.cut_off else curve.losses
            drawn.append(stretched(losses, epochs))
        return drawn

    def _fit(self) -> None:
        """Forecast the final losses of the curves that were cut off."""
        levels = ladder(self.epochs)
        usable = {
            index: [curve.losses[level - 1] for level in levels if level <= len(curve.losses)]
            for index, curve in enumerate(self.curves)
            if curve.cut_off or (curve.is_finished and len(curve.losses) == self.epochs)
        }
        curves = list(usable.values())
        self.scale = LossScale.of([curve[-1] for curve in curves], min(map(min, curves)) > 0)
        z = self.scale.table(curves, len(levels))
        self.decay, widths = decay(z, levels), spreads(z, levels)
        finished = z[[not self.curves[index].cut_off for index in usable]]
        predictors: dict[int, Predictor] = {}
        for row, index in zip(z, usable, strict=True):
            if self.curves[index].cut_off:
                level = len(usable[index]) - 1
                if level not in predictors:
                    predictors[level] = Predictor(finished, self.decay, levels, level, widths[level])
                self.forecasts[index] = predictors[level].predict(row)

    def _continued(self, index: int, rng: np.random.Generator) -> Sequence[float]:
        """A curve that was cut off, continued to a drawn final loss in the shape of the pooled decay."""
        curve, forecast = self.curves[index].losses, self.forecasts[index]
        end = forecast.mean + forecast.sd * rng.standard_t(forecast.nu)
        done = len(curve)
        last = float(self.scale.z([curve[-1]])[0])
        gained = _gains(self.decay, done, self.epochs)
        return [*curve, *(self.scale.loss(last + (end - last) * share) for share in gained)]


def _gains(prior: Decay, done: int, epochs: int) -> Array:
    """The share of the remaining gain reached after each remaining epoch, (epochs - done,); the last is 1."""
    gains = np.array([prior.gain(math.log2(epoch / done)) for epoch in range(done + 1, epochs + 1)])
    return gains / gains[-1] if gains[-1] > 0 else np.linspace(0, 1, epochs - done + 1)[1:]
