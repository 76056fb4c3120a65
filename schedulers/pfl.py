"""PFL, the predictive rule: a ladder of ranks, and predicted final losses with their uncertainty."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from schedulers.curve_model import CROSSED, student_quantile
from schedulers.errors import InvalidSetting
from schedulers.learning_curves import REFERENCES, ForecastingRule
from schedulers.ranked import Ranked
from schedulers.rule import Continue, Decision, Objective, Outlook, Pause, Report, Resume, Stop

HOPEFUL = 32
"""Trials a level, behind its room, whose prediction is asked for a last time."""

NARROWEST, WIDEST = 0.5, 1.5
"""Bounds of what the crossings seen so far make of a room."""

SURE = 1 / 3
"""Share of the room in which rank alone decides."""

BEND = 0.4
"""How much wider than in proportion rooms are early, and narrower late."""

FORESIGHT = 2.25
"""Doublings still to come from which on a poor prediction is acted on: from further away it tells nothing."""

EARLIEST = 0.08
"""Share of R before which no trial is judged (nor at epoch 1, of three or more): ranks there tell little."""


class PFLRule(ForecastingRule):
    """A trial goes on while its rank leaves room for it and its predicted final loss leaves hope.

    Trials are looked at on a ladder of epochs a factor sqrt(2) apart, from epoch 2 or `EARLIEST`·R on.
    Two questions are asked.

    Rank: of N trials, the best `keep`·D·(2 D / log2 R)^`BEND`·N by loss go on from epoch e, where
    D = log2(R / e) is the number of doublings still to come. Curves cross, and the more so the further
    they still have to go; so the room is wide where much can still happen (and an epoch more costs
    little) and closes towards the end, where successive halving's R / e would be narrow from the
    start. While not all have come by, a trial's place is
    scaled up from those who have. How much curves cross is the sweep's own to say: a room widens (up
    to `WIDEST`) or narrows (down to `NARROWEST`) with the share of finished trials that changed places
    after its epoch.

    Prediction: once `min_finished` trials have finished and no more than `FORESIGHT` doublings are to
    come, a trial also needs a probability of at least `min_chance` of beating the best of them, unless
    its rank is in the best third of the room. (Rank alone fails where curves cross, extrapolation
    where they drop from a plateau; and it is taught by those that finished, whom late ones are unlike.)

    Who does not go on is paused. As long as new trials are to come, only who would be in the best
    `early` share of the room goes straight on, the others wait: a place among a few says little. When
    all are there (`population_size`, or `no_more_trials`), those whom the room holds by now are
    resumed, the furthest first, one rung at a time. Then the prediction has the last word: of those
    outside the rooms, paused at whatever level, who has a chance of at least `hope` of beating the best
    found goes on too, the likeliest first: only this look can bring back whom an early rank misjudged.
    At the end the others are stopped. With
    `can_pause=False` who does not go on is stopped at once, so the whole room is open from the start,
    and a prediction must be ten times as sure.

    What a decision costs does not grow with the sweep, but for the search in sorted ranks: a fit looks
    at `REFERENCES` curves at most, and only when a trial has finished; a second look is at as many of
    each level's best that wait, all at once, and what it found is remembered until the next finish.

    Args:
        max_resource: R, epochs of a whole trial.
        population_size: N, trials of the sweep; None if not known, then `no_more_trials` tells.
        can_pause: False where trials cannot be checkpointed.
        keep: room per doubling still to come, as a share of all trials, in the middle of a run; 0.13,
            in runs of at most 16 epochs 0.085 (found by replay, benchmarks/stopping.py).
        min_chance: probability of beating the best below which a trial does not go on.
        min_finished: trials that are let finish at least; the room never closes further, and no
            prediction is acted on before. A tenth of `population_size`, from 5 to 9, if None: of fewer
            finished trials a fit hopes for too many others, and keeps the wrong ones.
        hope: probability of beating the best from which a trial goes on though its rank has no room.
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
        min_chance: float = 0.01,
        min_finished: int | None = None,
        hope: float = 0.1,
        early: float = 0.2,
        objective: Objective = "last",
    ) -> None:
        super().__init__(max_resource=max_resource, objective=objective)
        if keep is None:
            keep = 0.085 if max_resource <= 16 else 0.13
        if min_finished is None:
            min_finished = min(max(5, (population_size or 0) // 10), 9)
        shares = {"keep": keep, "min_chance": min_chance, "hope": hope, "early": early}
        for name, share in shares.items():
            if not 0 < share <= 1:
                raise InvalidSetting(name, f"{name} ({share}) must lie within (0, 1]")
        for name, count in (("min_finished", min_finished), ("population_size", population_size)):
            if count is not None and count < 1:
                raise InvalidSetting(name, f"{name} ({count}) must be at least 1")
        self.population_size = population_size
        self.can_pause = can_pause
        self.keep, self.min_chance, self.min_finished, self.early = keep, min_chance, min_finished, early
        self.hope = hope
        # In a long run the first epochs are noise; in a short one at least the very first is.
        self.first = bisect_left(self.levels, max(max_resource * EARLIEST, min(2, max_resource - 1)))
        self.known = 0  # trials there will ever be, once told
        self.silent = 0  # trials that ended without a report
        self.diverged_at = [0 for _ in self.levels]
        self.waiting: list[list[Ranked]] = [[] for _ in self.levels]  # who is paused there, best first
        self.paused_at: dict[str, int] = {}  # trial -> level
        self._forget()

    def memory(self) -> tuple[str, ...]:
        """What the curves say, who is there, and who waits."""
        return (*super().memory(), "known", "silent", "diverged_at", "waiting", "paused_at")

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up `state`, whose entries JSON may have made lists."""
        super().load(state)
        self.waiting = [[Ranked(*entry) for entry in level] for level in self.waiting]

    def _forget(self) -> None:
        """And how the rooms were, and who was found to be hopeless."""
        super()._forget()
        self._shares = [self._share(level) for level in range(len(self.levels))]
        self._doomed = [0 for _ in self.levels]  # so many of the first that wait have no `min_chance`

    def extension_obstacle(self, *, epochs: bool, trials: bool) -> str:
        """Predictions are of the loss at R: at another R they would have been others."""
        return "trials were stopped by what they would be worth at R" if epochs else ""

    def judge(self, report: Report) -> Decision:
        """Record the loss if a new level is reached, and decide whether the trial goes on."""
        level = self._record(report)
        if level is None or level < self.first or report.resource >= self.max_resource:
            return Continue()
        return self._decide(report.trial_id, level)

    def diverged(self, report: Report) -> Decision:
        """Stop, and count the trial at the level it did not reach, behind all others."""
        level = max(len(self.curves.get(report.trial_id, ())), self.first)
        if level < len(self.levels):
            self.diverged_at[level] += 1
        return super().diverged(report)

    def on_duplicate_report(self, report: Report) -> Decision:
        """Who waits at this very epoch goes on waiting."""
        if report.trial_id in self.paused_at and report.resource == self.last_resource[report.trial_id]:
            return Pause(self.last_word(report.trial_id))
        return super().on_duplicate_report(report)

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """Once all trials are there: the first that the room of its level holds, the furthest first."""
        if self._all_there():
            trial = self._next(paused, alone=False)
            if trial is None and len(self.curves) == len(self.paused_at):
                trial = self._next(paused, alone=True) or self._likeliest(paused)
            if trial is not None:
                return Resume(trial, f"second look: {self._explain(trial, self.paused_at[trial])}")
        if len(paused) <= len(self.paused_at):
            return None  # asked many times a second, of thousands that wait: do not look through them all
        # Not ours: it gave way to somebody, or another hand paused it.
        return super().resume([trial for trial in paused if trial not in self.paused_at])

    def resumed(self, resume: Resume) -> None:
        """It waits no longer."""
        self._leave(resume.trial_id)

    def no_more_trials(self, known: Sequence[str]) -> None:
        """From now on the waiting have a second look."""
        self.known = max(self.known, len(known))

    def cannot_pause(self) -> None:
        """Stop who would wait."""
        self.can_pause = False

    def end(self, trial_id: str, ending: str) -> None:
        """Its ranks stay, its curve stays for a while, a place it waited for goes to the next."""
        if trial_id in self.endings:
            return
        self.silent += trial_id not in self.last_resource
        self._leave(trial_id)
        super().end(trial_id, ending)

    def last_word(self, trial_id: str) -> str:
        """Its rank, the room there was, and what was predicted of it."""
        if trial_id not in self.paused_at:
            return super().last_word(trial_id)
        return f"not resumed: {self._explain(trial_id, self.paused_at[trial_id])}"

    def _likeliest(self, paused: Sequence[str]) -> str | None:
        """Of those whom no room holds: who most probably beats the best, if that is `hope` or more."""
        if self.finishes < self.min_finished:
            return None
        chances = [
            (self._outlook(trial, level).chance, level, trial)
            for level in range(self.first, len(self.levels))
            for trial in self._promising(self.hope, level, 0, HOPEFUL).values()
            if _holds(paused, trial)
        ]
        chance, _, likeliest = max(chances, default=(0.0, 0, ""))
        return likeliest if chance >= self.hope else None

    def _next(self, paused: Sequence[str], *, alone: bool) -> str | None:
        """The first in a room, the furthest first; `alone`: nobody runs, so nobody else will come by."""
        for level in range(len(self.levels) - 1, -1, -1):
            if self.waiting[level] and (trial := self._first(paused, level, alone)) is not None:
                return trial
        return None

    def _first(self, paused: Sequence[str], level: int, alone: bool) -> str | None:
        """The first in the room of a level."""
        waiting, room, index = self.waiting[level], self._room(level), 0
        while index < min(len(waiting), REFERENCES):
            trial = waiting[index].trial
            place = self._rank(trial, level) if alone else self._place(trial, level)
            if place > room:
                break
            if not self._hopeful(trial, level, place):
                index = self._after(level, index)
            elif _holds(paused, trial):
                return trial
            else:
                index += 1
        return None

    def _after(self, level: int, hopeless: int) -> int:
        """Index of the next that waits behind a hopeless one, without the hopeless between them.

        Behind a trial that needs its prediction all do, so what they would be worth decides alone; it
        is the same until somebody finishes, wherever ranks and rooms move in between.
        """
        if hopeless < self._doomed[level]:
            return self._doomed[level]
        end = min(len(self.waiting[level]), REFERENCES)
        index = min(self._promising(self.min_chance, level, hopeless + 1, end), default=end)
        if hopeless == self._doomed[level]:
            self._doomed[level] = index
        return index

    def _promising(self, chance: float, level: int, begin: int, end: int) -> dict[int, str]:
        """Index and name of those of `waiting[level][begin:end]` who may have such a chance.

        All at once, which is cheap; a hair too many, so that `_outlook` has the last word.
        """
        some = self.waiting[level][begin:end]
        if not some:
            return {}
        predictor, z = self._predictor(level), self._z([self.curves[trial] for _, trial in some])
        ahead = student_quantile(chance * (1 - 1e-3), predictor.nu)
        near = predictor.distances(z, self._goal()) >= ahead
        return {begin + int(index): some[index].trial for index in np.flatnonzero(near)}

    def _decide(self, trial: str, level: int) -> Decision:
        share = self.early if self.can_pause and not self._all_there() else 1.0
        place, room = self._place(trial, level, share), share * self._room(level)
        on = place <= room and self._hopeful(trial, level, place)
        self._note_outlook(trial, level)
        reason, outlook = self._explain(trial, level), self._outlook(trial, level)
        if on:
            return Continue(reason, outlook=outlook)
        if not self.can_pause:
            return Stop(reason, outlook=outlook)
        self._wait(trial, level, outlook.chance)
        return Pause(reason, outlook=outlook)

    def _all_there(self) -> bool:
        """All trials there will ever be have reported or ended."""
        total = self.population_size or self.known
        return total > 0 and len(self.last_resource) + self.silent >= total

    def _total(self) -> int:
        return max(self.population_size or 0, self.known, len(self.last_resource))

    def _room(self, level: int) -> float:
        """How many of all trials may go on from this level."""
        total = self._total()
        if level < self.first:
            return total
        return min(max(self._shares[level] * total, self.min_finished), total)

    def _share(self, level: int) -> float:
        """The room as a share of all trials: `keep` per doubling still to come, wider where curves cross."""
        width = min(max(self.crossed[level] / CROSSED, NARROWEST), WIDEST)
        doublings = math.log2(self.max_resource / self.levels[level])
        early: float = (2 * doublings / max(math.log2(self.max_resource), 1.0)) ** BEND
        return self.keep * width * doublings * early

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
        # Within a doubling of the first look the slope is still that of the first epochs.
        foreseen = level >= self.first + 2 and self.max_resource <= self.levels[level] * 2**FORESIGHT
        if self.finishes < self.min_finished or not foreseen or place <= self._room(level) * SURE:
            return True
        chance = self._outlook(trial, level).chance
        if self.can_pause:
            return chance >= self.min_chance
        # A stop is for good. This trial may yet drop where no slope foretells it, n finished ones of
        # which none did notwithstanding: pi (k + 1/2) / (n + 1) with k = 1 and pi = (1/2) / (n + 6).
        jump = 0.5 / (self.finishes + 6) * 1.5 / (self.finishes + 1)
        return chance + jump >= self.min_chance / 10

    def _wait(self, trial: str, level: int, chance: float) -> None:
        entry = Ranked(self.curves[trial][level], trial)
        index = bisect_left(self.waiting[level], entry)
        self.waiting[level].insert(index, entry)
        self.paused_at[trial] = level
        if index < self._doomed[level]:
            self._doomed[level] = self._doomed[level] + 1 if chance < self.min_chance else index

    def _leave(self, trial: str) -> None:
        level = self.paused_at.pop(trial, None)
        if level is not None:
            waiting = self.waiting[level]
            index = bisect_left(waiting, Ranked(self.curves[trial][level], trial))
            del waiting[index]
            self._doomed[level] -= index < self._doomed[level]

    def _explain(self, trial: str, level: int) -> str:
        """Rank, room and prediction, in one line."""
        seen = self._outlook(trial, level)
        rank, came = self._rank(trial, level), len(self.rungs[level]) + self.diverged_at[level]
        best = (
            "no trial has finished"
            if self.best is None
            else f"the model's chance to beat {self.format_value(self.best)} is {seen.chance:.2g}"
        )
        return (
            f"epoch {self.levels[level]}: rank {rank} of {came}, room for {self._room(level):.0f} of "
            f"{self._total()}; predicted final {self.metric} {self.format_value(seen.median)} "
            f"({self._range(seen)}), {best}"
        )

    def _range(self, seen: Outlook) -> str:
        """The range about a prediction, and how many such ranges have held so far."""
        if seen.low is None or seen.high is None:
            return "too few have finished to tell a range"
        low, high = sorted((seen.low, seen.high), key=lambda loss: self.sign * loss)
        checked = (
            f"{self.held} of {self.told} such ranges held" if self.told else "no such range is checked yet"
        )
        return f"{self.format_value(low)} to {self.format_value(high)}; {checked}"


def _holds(paused: Sequence[str], trial: str) -> bool:
    """Whether a trial is among the paused: they come in order, so it is mostly where it should be."""
    index = bisect_left(paused, trial)
    return (index < len(paused) and paused[index] == trial) or trial in paused
