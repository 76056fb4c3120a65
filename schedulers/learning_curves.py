"""A rule that records learning curves on a ladder of epochs and predicts their final losses."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from schedulers.conformal import NOMINAL, widening
from schedulers.curve_model import (
    CROSSED,
    Array,
    Decay,
    Forecast,
    LossScale,
    Predictor,
    crossing,
    decay,
    ladder,
    spreads,
)
from schedulers.rule import Objective, Outlook, Report, Rule

REFERENCES = 256
"""Maximum number of curves in a fit, so that the cost of a decision does not grow with the sweep."""

PAIRED = 64
"""Number of newest finished curves among which crossings are counted: pairs grow with their square."""


class NotedOutlook(NamedTuple):
    """An outlook given for a trial at one level, kept until the trial's final loss is known.

    Attributes:
        level: index into the ladder.
        mean: mean of the predicted final loss, in z times its unit.
        half: half the width of the model's range, in the same unit.
        wider: the factor by which the range was widened; 0 where no range was given.
    """

    level: int
    mean: float
    half: float
    wider: float


class ForecastingRule(Rule):
    """Base of rules that predict: losses ranked at each level, and an outlook for each live trial.

    A subclass calls `_record` in `judge`, decides by `_outlook`, records with `_note_outlook` each outlook
    that it gives, and extends `_forget`, which its constructor calls once its own settings are made.

    An outlook's range is that of the model, widened by split conformal prediction at each level: by how
    far off the outlooks noted there were for the trials that have finished.

    Args:
        max_resource: R, epochs of a whole trial.
        objective: what a trial is worth: its `last` loss or its `best` so far.
    """

    def __init__(self, *, max_resource: int, objective: Objective = "last") -> None:
        super().__init__(max_resource=max_resource, objective=objective)
        self.levels = ladder(max_resource)
        self.curves: dict[str, list[float]] = {}  # live trial -> its loss at each level so far
        self.finished_curves: list[list[float]] = []  # the newest finished curves
        self.partial_curves: list[list[float]] = []  # the newest curves that ended earlier
        self.finishes = 0
        self.best: float | None = None  # lowest final loss
        self.rungs: list[list[float]] = [[] for _ in self.levels]  # losses at each level, ascending
        self.positive = True  # every loss so far is above zero
        self.prior = Decay()
        self.unit = 1.0
        self.spreads = [[1.0, 1.0, 1.0] for _ in self.levels]
        self.crossing_shares = [CROSSED for _ in self.levels]
        self.notes: dict[str, list[NotedOutlook]] = {}  # live trial -> its outlooks so far
        self.misses: list[list[float]] = [[] for _ in self.levels]  # of the newest finished, see `widening`
        self.ranges_held, self.ranges_given = 0, 0  # of the ranges for finished trials

    def memory(self) -> tuple[str, ...]:
        """Also the curves of live trials, a bounded set of ended ones, ranks and pooled estimates."""
        return (
            *super().memory(),
            *("curves", "finished_curves", "partial_curves", "finishes", "best", "rungs"),
            *("positive", "prior", "unit", "spreads", "crossing_shares"),
            *("notes", "misses", "ranges_held", "ranges_given"),
        )

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore `state`, in which JSON may have turned the named tuples into lists."""
        super().load(state)
        self.prior = Decay(*self.prior)
        self.notes = {trial: [NotedOutlook(*each) for each in noted] for trial, noted in self.notes.items()}
        self._forget()

    def _forget(self) -> None:
        """Drop what is derived from the finished trials; none of it is part of the state."""
        self._table: Array | None = None  # z of the finished
        self._predictors: dict[int, Predictor] = {}  # level -> fit
        self._forecasts: dict[str, Forecast] = {}  # live trial -> forecast at the level it has reached
        self._outlooks: dict[str, Outlook] = {}
        self._widenings = [widening(misses) for misses in self.misses]

    def next_judged(self, trial_id: str, resource: int) -> int:
        """The next level of the ladder: nothing is recorded in between."""
        level = bisect_right(self.levels, resource)
        return self.levels[level] if level < len(self.levels) else self.max_resource

    def end(self, trial_id: str, ending: str) -> None:
        """Record the end; the trial's losses stay in the rankings, its curve among the newest ended."""
        super().end(trial_id, ending)
        self._forget_trial(trial_id)
        self.notes.pop(trial_id, None)
        curve = self.curves.pop(trial_id, None)
        if curve is not None:
            self.partial_curves.append(curve)
            del self.partial_curves[:-REFERENCES]

    def _record(self, report: Report) -> int | None:
        """Record the loss; return the level if the trial reached it only now, else None."""
        trial, loss = report.trial_id, report.loss
        assert loss is not None
        curve = self.curves.setdefault(trial, [])
        level = bisect_right(self.levels, report.resource) - 1
        if level < len(curve):
            return None
        # Levels that passed without a report get the loss of the next one reported.
        curve.extend([loss] * (level + 1 - len(curve)))
        insort(self.rungs[level], loss)
        self._forget_trial(trial)
        if loss <= 0 and self.positive:
            self.positive = False
            self.notes, self.misses = {}, [[] for _ in self.levels]  # they were on the logarithmic scale
            self._learn()
        if report.resource >= self.max_resource:
            self._finish(trial, curve)
        return level

    def _outlook(self, trial: str, level: int) -> Outlook:
        if trial not in self._outlooks:
            forecast, scale, wider = self._forecast(trial, level), self._scale(), self._widenings[level]
            half = _half(forecast)
            low, high = (
                (None, None)
                if wider is None
                else (scale.loss(forecast.mean - wider * half), scale.loss(forecast.mean + wider * half))
            )
            self._outlooks[trial] = Outlook(
                scale.loss(forecast.mean), low, high, forecast.below(self._goal())
            )
        return self._outlooks[trial]

    def _note_outlook(self, trial: str, level: int) -> None:
        """Keep a trial's outlook until its final loss is known."""
        forecast, wider = self._forecast(trial, level), self._widenings[level]
        unit = self._scale().unit  # changes with each finish, so it is multiplied in
        self.notes.setdefault(trial, []).append(
            NotedOutlook(level, forecast.mean * unit, _half(forecast) * unit, 0.0 if wider is None else wider)
        )

    def _forecast(self, trial: str, level: int) -> Forecast:
        if trial not in self._forecasts:
            self._forecasts[trial] = self._predictor(level).predict(self._z([self.curves[trial]])[0])
        return self._forecasts[trial]

    def _check_outlooks(self, trial: str, loss: float) -> None:
        """Compare a finished trial's noted outlooks with its final loss."""
        scale = self._scale()
        end = float(scale.z([loss])[0]) * scale.unit
        for level, mean, half, wider in self.notes.pop(trial, ()):
            miss = abs(end - mean) / half if half > 0 else math.nan
            if not math.isfinite(miss):
                continue  # a zero width, or beyond the range of a float
            self.misses[level].append(miss)
            del self.misses[level][:-REFERENCES]
            if wider:
                self.ranges_given += 1
                self.ranges_held += miss <= wider

    def _forget_trial(self, trial: str) -> None:
        """Drop what is derived from a curve that has grown or ended."""
        self._forecasts.pop(trial, None)
        self._outlooks.pop(trial, None)

    def _goal(self) -> float:
        """The z to beat: of the lowest final loss, or of the lowest loss while no trial has finished."""
        best = self.best if self.best is not None else min(rung[0] for rung in self.rungs if rung)
        return float(self._scale().z([best])[0])

    def _predictor(self, level: int) -> Predictor:
        if self._table is None:
            self._table = self._z(self.finished_curves)
        if level not in self._predictors:
            fit = Predictor(self._table, self.prior, self.levels, level, self.spreads[level])
            self._predictors[level] = fit
        return self._predictors[level]

    def _z(self, curves: Sequence[Sequence[float]]) -> Array:
        return self._scale().table(curves, len(self.levels))

    def _scale(self) -> LossScale:
        return LossScale(self.positive, self.unit)

    def _finish(self, trial: str, curve: list[float]) -> None:
        self._check_outlooks(trial, curve[-1])
        self.finishes += 1
        self.best = curve[-1] if self.best is None else min(self.best, curve[-1])
        self.finished_curves.append(curve)
        del self.finished_curves[:-REFERENCES]
        del self.curves[trial]
        self._learn()

    def _learn(self) -> None:
        """Refit the pooled estimates; done at each finish, so that a reload does not change them."""
        live = list(islice(reversed(self.curves.values()), REFERENCES))
        curves = [*self.finished_curves, *self.partial_curves, *live]
        scale = LossScale.of([curve[-1] for curve in curves], self.positive)
        z = scale.table(curves, len(self.levels))
        self.unit, self.prior, self.spreads = scale.unit, decay(z, self.levels), spreads(z, self.levels)
        if len(self.finished_curves) > 1:
            self.crossing_shares = crossing(self.finished_curves[-PAIRED:])
        self._forget()


def _half(forecast: Forecast) -> float:
    """Distance from the mean to the upper end of the model's own range."""
    return forecast.quantile((1 + NOMINAL) / 2) - forecast.mean
