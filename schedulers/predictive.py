"""PFL, the predictive rule: a ladder of ranks, and predicted final losses with their uncertainty."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from schedulers.curve import Decay, Forecast, Predictor, Scale, decay, ladder, spreads
from schedulers.rule import Continue, Decision, Objective, Pause, Report, Resume, Rule, Stop

REFERENCES = 256
"""Curves a fit looks at, at most: the cost of a decision does not grow with the sweep."""

Prediction = tuple[float, float, float, float]
"""Predicted final loss: median, 5% and 95% quantile; then the probability of beating the best."""

SURE = 1 / 3
"""Share of the room in which rank alone decides."""

Waiting = list[Any]  # [loss, trial_id], a list so that JSON gives it back as it was


class PFLRule(Rule):
    """A trial goes on while its rank leaves room for it and its predicted final loss leaves hope.

    Trials are looked at on a ladder of epochs a factor sqrt(2) apart. Two questions are asked.

    Rank: of N trials, the best `keep`·D·N by loss go on from epoch e, where D = log2(R / e) is the
    number of doublings still to come. Curves cross, and the more so the further they still have to
    go; so the room is wide where much can still happen and closes towards the end, where successive
    halving's R / e would be narrow from the start. While not all have come by, a trial's place is
    scaled up from those who have.

    Prediction: once `min_finished` trials have finished, a trial also needs a probability of at least
    `min_chance` of beating the best of them, unless its rank is in the best third of the room.
    (Rank alone fails where curves cross, extrapolation where they drop from a plateau.)

    Who does not go on is paused. As long as new trials are to come, only who would be in the best
    `early` share of the room goes straight on, the others wait: a place among a few says little. When
    all are there (`population_size`, or `no_more_trials`), those whom the room holds by now are
    resumed, the furthest first, one rung at a time; at the end the others are stopped. With
    `can_pause=False` who does not go on is stopped at once, so the whole room is open from the start,
    and a prediction must be ten times as sure.

    After each decision `predictions[trial]` holds the predicted final loss (median, 5% and 95%
    quantile) and the probability of beating the best finished trial.

    Args:
        max_resource: R, epochs of a whole trial.
        population_size: N, trials of the sweep; None if not known, then `no_more_trials` tells.
        can_pause: False where trials cannot be checkpointed.
        keep: room per doubling still to come, as a share of all trials; 0.135, in runs of at most 16
            epochs 0.12 (found by replay, benchmarks/stopping.py).
        min_chance: probability of beating the best below which a trial does not go on.
        min_finished: trials that are let finish at least; the room never closes further, and no
            prediction is acted on before.
        early: share of the room that is open while new trials are still to come.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: if a share or probability is not within (0, 1], or a count is below 1.
    """

    def __init__(
        self,
        *,
        max_resource: int,
        population_size: int | None = None,
        can_pause: bool = True,
        keep: float | None = None,
        min_chance: float = 0.002,
        min_finished: int = 5,
        early: float = 0.3,
        objective: Objective = "last",
    ) -> None:
        super().__init__(max_resource=max_resource, objective=objective)
        if keep is None:
            keep = 0.12 if max_resource <= 16 else 0.135
        for name, share in (("keep", keep), ("min_chance", min_chance), ("early", early)):
            if not 0 < share <= 1:
                raise ValueError(f"{name} ({share}) must lie within (0, 1]")
        for name, count in (("min_finished", min_finished), ("population_size", population_size)):
            if count is not None and count < 1:
                raise ValueError(f"{name} ({count}) must be at least 1")
        self.population_size = population_size
        self.can_pause = can_pause
        self.keep, self.min_chance, self.min_finished, self.early = keep, min_chance, min_finished, early
        self.levels = ladder(max_resource)
        # In a long run the first epoch or two are noise; in a short one they are all there is.
        self.first = bisect_left(self.levels, max_resource / 25)
        self.known = 0  # trials there will ever be, once told
        self.silent = 0  # trials that ended without a report
        self.curves: dict[str, list[float]] = {}  # live trial -> its loss at each level so far
        self.finished: list[list[float]] = []  # the newest finished curves
        self.partial: list[list[float]] = []  # the newest curves that ended earlier
        self.finishes = 0
        self.best: float | None = None  # lowest final loss
        self.rungs: list[list[float]] = [[] for _ in self.levels]  # who came by, ascending
        self.diverged_at = [0 for _ in self.levels]
        self.waiting: list[list[Waiting]] = [[] for _ in self.levels]  # who is paused there, best first
        self.paused_at: dict[str, int] = {}  # trial -> level
        self.positive = True  # every loss so far is above zero
        self.prior: list[float] = [Decay().rho, Decay().tau2]
        self.unit = 1.0
        self.spreads = [[1.0, 1.0, 1.0] for _ in self.levels]
        self.predictions: dict[str, Prediction] = {}
        self._predictors: dict[int, Predictor] = {}
        self._chances: dict[str, float] = {}
        self._answer: tuple[list[str], Resume | None] | None = None  # to the last question, still true

    def memory(self) -> tuple[str, ...]:
        """Curves of the living, a bounded set of those that ended, and the ranks."""
        return (
            *super().memory(),
            *("known", "silent", "curves", "finished", "partial", "finishes", "best", "rungs", "diverged_at"),
            *("waiting", "paused_at", "positive", "prior", "unit", "spreads"),
        )

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up `state`; what was derived from another is forgotten."""
        super().load(state)
        self._predictors.clear()
        self._chances.clear()
        self._answer = None

    def judge(self, report: Report) -> Decision:
        """Record the loss if a new level is reached, and decide whether the trial goes on."""
        self._answer = None
        trial, loss = report.trial_id, report.loss
        assert loss is not None
        curve = self.curves.setdefault(trial, [])
        level = bisect_right(self.levels, report.resource) - 1
        if level < len(curve):
            return Continue()
        # A trial that reports now and then did not move in between, for all we know.
        curve.extend([loss] * (level + 1 - len(curve)))
        insort(self.rungs[level], loss)
        self._chances.pop(trial, None)
        if loss <= 0 and self.positive:
            self.positive = False
            self._learn()
        if report.resource >= self.max_resource:
            self._finish(trial, curve)
            return Continue()
        if level < self.first:
            return Continue()
        return self._decide(trial, level)

    def diverged(self, report: Report) -> Decision:
        """Stop, and count the trial at the level it did not reach, behind all others."""
        self._answer = None
        level = max(len(self.curves.get(report.trial_id, ())), self.first)
        if level < len(self.levels):
            self.diverged_at[level] += 1
        return super().diverged(report)

    def again(self, report: Report) -> Decision:
        """Who waits at this very epoch goes on waiting."""
        if report.trial_id in self.paused_at and report.resource == self.seen[report.trial_id]:
            return Pause(self.last_word(report.trial_id))
        return super().again(report)

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """Once all trials are there: the first that the room of its level holds, the furthest first."""
        if self._answer is None or self._answer[0] != list(paused):  # asked many times a second
            self._answer = (list(paused), self._next_resume(paused))
        return self._answer[1]

    def _next_resume(self, paused: Sequence[str]) -> Resume | None:
        if self._all_there():
            trial = self._next(paused, alone=False)
            if trial is None and len(self.curves) == len(self.paused_at):
                trial = self._next(paused, alone=True)
            if trial is not None:
                return Resume(trial, f"second look: {self._explain(trial, self.paused_at[trial])}")
        # Not ours: it gave way to somebody, or another hand paused it.
        return super().resume([trial for trial in paused if trial not in self.paused_at])

    def resumed(self, resume: Resume) -> None:
        """It waits no longer."""
        self._answer = None
        self._leave(resume.trial_id)

    def no_more_trials(self, known: Sequence[str]) -> None:
        """From now on the waiting have a second look."""
        self._answer = None
        self.known = max(self.known, len(known))

    def end(self, trial_id: str, ending: str) -> None:
        """Its ranks stay, its curve stays for a while, a place it waited for goes to the next."""
        if trial_id in self.over:
            return
        super().end(trial_id, ending)
        self._answer = None
        self.silent += trial_id not in self.seen
        self._leave(trial_id)
        curve = self.curves.pop(trial_id, None)
        if curve is not None:
            self.partial.append(curve)
            del self.partial[:-REFERENCES]

    def last_word(self, trial_id: str) -> str:
        """Its rank, the room there was, and what was predicted of it."""
        if trial_id not in self.paused_at:
            return super().last_word(trial_id)
        return f"not resumed: {self._explain(trial_id, self.paused_at[trial_id])}"

    def _next(self, paused: Sequence[str], *, alone: bool) -> str | None:
        """The first in a room, the furthest first; `alone`: nobody runs, so nobody else will come by."""
        for level in range(len(self.levels) - 1, -1, -1):
            for entry in self.waiting[level]:
                trial: str = entry[1]
                place = self._rank(trial, level) if alone else self._place(trial, level)
                if place > self._room(level):
                    break
                if self._hopeful(trial, level, place) and trial in paused:
                    return trial
        return None

    def _decide(self, trial: str, level: int) -> Decision:
        share = self.early if self.can_pause and not self._all_there() else 1.0
        place, room = self._place(trial, level, share), share * self._room(level)
        on = place <= room and self._hopeful(trial, level, place)
        reason = self._explain(trial, level)
        if on:
            return Continue(reason)
        if not self.can_pause:
            return Stop(reason)
        insort(self.waiting[level], [self.curves[trial][level], trial])
        self.paused_at[trial] = level
        return Pause(reason)

    def _all_there(self) -> bool:
        """All trials there will ever be have reported or ended."""
        total = self.population_size or self.known
        return total > 0 and len(self.seen) + self.silent >= total

    def _total(self) -> int:
        return max(self.population_size or 0, self.known, len(self.seen))

    def _room(self, level: int) -> float:
        """How many of all trials may go on from this level."""
        if level < self.first:
            return self._total()
        doublings = math.log2(self.max_resource / self.levels[level])
        return min(max(self.keep * doublings * self._total(), self.min_finished), self._total())

    def _place(self, trial: str, level: int, share: float = 1.0) -> float:
        """Expected rank among all that will have come by this level, from the rank among those who have.

        The r-th of n lies about (r - 1/2) / n from the top, whoever is still to come. Of each room
        before this one a `share` was open.
        """
        came = len(self.rungs[level]) + self.diverged_at[level]
        before = self._room(level - 1) * (share if level > self.first else 1.0)
        coming = max(came, before)
        return (self._rank(trial, level) - 0.5) * coming / came + 0.5

    def _rank(self, trial: str, level: int) -> int:
        """Rank among those who came by this level, from 1."""
        return bisect_left(self.rungs[level], self.curves[trial][level]) + 1

    def _hopeful(self, trial: str, level: int, place: float) -> bool:
        """Is the prediction, once it counts, no reason to give the trial up?"""
        # One doubling behind the first look there is a slope to go by.
        if self.finishes < self.min_finished or level < self.first + 2 or place <= self._room(level) * SURE:
            return True
        chance = self._chance(trial, level)
        if self.can_pause:
            return chance >= self.min_chance
        # A stop is for good. This trial may yet drop where no slope foretells it, n finished ones of
        # which none did notwithstanding: pi (k + 1/2) / (n + 1) with k = 1 and pi = (1/2) / (n + 6).
        jump = 0.5 / (self.finishes + 6) * 1.5 / (self.finishes + 1)
        return chance + jump >= self.min_chance / 10

    def _chance(self, trial: str, level: int) -> float:
        if trial not in self._chances:
            scale = self._scale()
            forecast = self._forecast(trial, level)
            best = self.best if self.best is not None else min(rung[0] for rung in self.rungs if rung)
            median, low, high = (scale.loss(forecast.quantile(q)) for q in (0.5, 0.05, 0.95))
            self._chances[trial] = forecast.below(float(scale.z([best])[0]))
            self.predictions[trial] = (median, low, high, self._chances[trial])
        return self._chances[trial]

    def _forecast(self, trial: str, level: int) -> Forecast:
        if level not in self._predictors:
            finished = self._scale().table(self.finished, len(self.levels))
            self._predictors[level] = Predictor(
                finished, Decay(*self.prior), self.levels, level, self.spreads[level]
            )
        curve = self._scale().table([self.curves[trial]], len(self.levels))
        return self._predictors[level].predict(curve[0])

    def _scale(self) -> Scale:
        return Scale(self.positive, self.unit)

    def _finish(self, trial: str, curve: list[float]) -> None:
        self.finishes += 1
        self.best = curve[-1] if self.best is None else min(self.best, curve[-1])
        self.finished.append(curve)
        del self.finished[:-REFERENCES]
        del self.curves[trial]
        self._learn()

    def _learn(self) -> None:
        """Pool what all curves say; at each finish, so that it is the same after a reload."""
        living = list(islice(reversed(self.curves.values()), REFERENCES))
        curves = [*self.finished, *self.partial, *living]
        scale = Scale.of([curve[-1] for curve in curves], self.positive)
        z = scale.table(curves, len(self.levels))
        pooled, self.spreads = decay(z, self.levels), spreads(z, self.levels)
        self.unit, self.prior = scale.unit, [pooled.rho, pooled.tau2]
        self._predictors.clear()
        self._chances.clear()

    def _leave(self, trial: str) -> None:
        level = self.paused_at.pop(trial, None)
        if level is not None:
            waiting = self.waiting[level]
            del waiting[bisect_left(waiting, [self.curves[trial][level], trial])]

    def _explain(self, trial: str, level: int) -> str:
        """Rank, room and prediction, in one line."""
        chance = self._chance(trial, level)
        median, low, high, _ = self.predictions[trial]
        rank, came = self._rank(trial, level), len(self.rungs[level]) + self.diverged_at[level]
        best = "no trial has finished" if self.best is None else f"{chance:.2g} to beat {self.best:.6g}"
        return (
            f"epoch {self.levels[level]}: rank {rank} of {came}, room for {self._room(level):.0f} of "
            f"{self._total()}; predicted final loss {median:.6g} ({low:.6g} to {high:.6g}), {best}"
        )
