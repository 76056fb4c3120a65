"""An earlier study's learning curves, for a plan: all of them, those that were cut off continued.

What a stopping scheduler left are survivors, and a plan by them alone is of a study of good trials only. A
trial that was stopped is therefore continued by the curve model of the predictive PFL rule
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
"""Outcomes of trials whose curves say nothing of how long they would have trained."""


SPREAD = 0.1
"""How far from a trial's own place in the earlier study its curve is drawn, as a share of that study."""


@dataclass(frozen=True, slots=True)
class EarlierCurve:
    """One trial of an earlier study.

    Attributes:
        losses: each epoch; NaN from a divergence to the end.
        cut_off: whether it would have gone on: it was stopped, or is still running.
    """

    losses: tuple[float, ...]
    cut_off: bool

    @property
    def is_finished(self) -> bool:
        """Whether the last loss is that of a whole trial."""
        return not self.cut_off and math.isfinite(self.losses[-1])


def earlier_curves(record: StudyRecord) -> list[EarlierCurve]:
    """The curves of a study's trials in the order of their numbers; none where they do not suffice.

    Failed trials and those that copied others have no part in it. Where trials were cut off, `ENOUGH`
    finished ones are needed to continue them by.
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
    """What they are."""
    cut_off = sum(curve.cut_off for curve in curves)
    words = f"{len(curves) - cut_off} whole ones of the earlier study, in its order"
    return (
        f"{words}, and {cut_off} that were cut off, continued by the curve model of PFL" if cut_off else words
    )


class EarlierDraw:
    """Draws from an earlier study's curves about in their order, stretched to the epochs of the new run.

    The order keeps what the earlier study's sampler learnt from one trial to the next.

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
        """So many curves, (trials, epochs)."""
        count = len(self.curves)
        places = (np.arange(trials) + 0.5) / trials + rng.normal(0, SPREAD, trials)
        places = 1 - np.abs(1 - np.abs(places) % 2)  # reflected at both ends
        found = []
        for place in np.minimum(places * count, count - 1).astype(int).tolist():
            curve = self.curves[place]
            losses = self._continued(place, rng) if curve.cut_off else curve.losses
            found.append(stretched(losses, epochs))
        return found

    def _fit(self) -> None:
        """Forecast the ends of those that were cut off, from all that is known."""
        levels = ladder(self.epochs)
        known = {
            place: [curve.losses[level - 1] for level in levels if level <= len(curve.losses)]
            for place, curve in enumerate(self.curves)
            if curve.cut_off or (curve.is_finished and len(curve.losses) == self.epochs)
        }
        self.scale = LossScale.of([curve[-1] for curve in known.values()], min(map(min, known.values())) > 0)
        z = self.scale.table(list(known.values()), len(levels))
        self.decay, widths = decay(z, levels), spreads(z, levels)
        finished = z[[not self.curves[place].cut_off for place in known]]
        predictors: dict[int, Predictor] = {}
        for row, place in zip(z, known, strict=True):
            if self.curves[place].cut_off:
                level = len(known[place]) - 1
                if level not in predictors:
                    predictors[level] = Predictor(finished, self.decay, levels, level, widths[level])
                self.forecasts[place] = predictors[level].predict(row)

    def _continued(self, place: int, rng: np.random.Generator) -> Sequence[float]:
        """A curve that was cut off, to its end: there in the shape of the pooled decay."""
        curve, forecast = self.curves[place].losses, self.forecasts[place]
        end = forecast.mean + forecast.sd * rng.standard_t(forecast.nu)
        done = len(curve)
        last = float(self.scale.z([curve[-1]])[0])
        gained = _gains(self.decay, done, self.epochs)
        return [*curve, *(self.scale.loss(last + (end - last) * share) for share in gained)]


def _gains(prior: Decay, done: int, epochs: int) -> Array:
    """Of what is still gained, the share after each epoch that is left; (epochs - done,), the last is 1."""
    gains = np.array([prior.gain(math.log2(epoch / done)) for epoch in range(done + 1, epochs + 1)])
    return gains / gains[-1] if gains[-1] > 0 else np.linspace(0, 1, epochs - done + 1)[1:]
