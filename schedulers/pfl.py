"""PFL, the predictive rule: ranks on a ladder of epochs, and predicted final losses with uncertainty."""

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
"""Paused trials per level, outside its room, whose prediction is considered at the end."""

NARROWEST, WIDEST = 0.5, 1.5
"""Bounds of the factor by which observed curve crossings scale a room."""

SURE = 1 / 3
"""Best share of the room, in which a trial goes on by rank alone."""

BEND = 0.4
"""Exponent that makes rooms wider than proportional early, and narrower late."""

FORESIGHT = 2.25
"""A poor prediction counts once this many doublings or fewer remain; further away it tells nothing."""

EARLIEST = 0.08
"""No trial is judged before this share of R (nor at epoch 1 if R >= 3): ranks there tell little."""


class PFLRule(ForecastingRule):
    """A trial goes on while its rank is within the room and its predicted final loss is promising.

    Trials are judged on a ladder of epochs a factor sqrt(2) apart, starting at epoch 2 or `EARLIEST`·R.

    Rank: of N trials, the best `keep`·D·(2 D / log2 R)^`BEND`·N by loss (the *room*) go on from epoch e,
    where D = log2(R / e) is the number of doublings that remain. The further curves have to go, the more
    of them cross; so the room is wide early, where an extra epoch costs little, and closes towards the
    end, whereas successive halving's R / e is narrow from the start. Until all trials have reached an
    epoch, a trial's rank is scaled up from those that have. A room widens (up to `WIDEST`) or narrows
    (down to `NARROWEST`) with the share of finished trials that changed order after its epoch.

    Prediction: once `min_finished` trials have finished and no more than `FORESIGHT` doublings remain,
    a trial also needs a probability of at least `min_chance` of beating the best of them, unless its
    rank is in the best third of the room. (Rank alone fails where curves cross; extrapolation fails where
    they drop from a plateau, and it learns from finished trials, which late bloomers do not resemble.)

    A trial that does not go on is paused. While new trials are still to come, only trials in the best
    `early` share of the room go straight on, since a rank among a few says little. When all trials have
    started (`population_size`, or `no_more_trials`), the paused trials within the room are resumed, the
    furthest first, one rung at a time. Then, among the trials outside the rooms at any level, those with
    a chance of at least `hope` of beating the best are resumed, the likeliest first: only this step can
    correct an early misjudgement by rank. At the end the others are stopped. With `can_pause=False` a
    trial that does not go on is stopped at once; the whole room is then open from the start, and a
    prediction must be ten times as sure.

    Apart from the search in sorted ranks, the cost of a decision does not grow with the sweep: a fit uses
    at most `REFERENCES` curves and is made only after a trial has finished; the same number of each
    level's best paused trials are evaluated together, and the result is kept until the next finish.

    Args:
        max_resource: R, epochs of a whole trial.
        population_size: N, trials of the sweep; None if unknown until `no_more_trials`.
        can_pause: False where trials cannot be checkpointed.
        keep: room per remaining doubling, as a share of all trials, in the middle of a run
            (the default was found by replay, benchmarks/stopping.py).
        min_chance: probability of beating the best below which a trial does not go on.
        min_finished: least number of trials that finish: no room is smaller, and no prediction counts
            before. If None, a tenth of `population_size`, within 5 to 9: a fit to fewer finished trials
            is too hopeful about the others, and keeps the wrong ones.
        hope: probability of beating the best from which a trial outside the room goes on.
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
        keep: float = 0.13,
        min_chance: float = 0.01,
        min_finished: int | None = None,
        hope: float = 0.1,
        early: float = 0.2,
        objective: Objective = "last",
    ) -> None:
        super().__init__(max_resource=max_resource, objective=objective)
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
        self.first_level = bisect_left(self.levels, max(max_resource * EARLIEST, min(2, max_resource - 1)))
        self.final_count = 0  # the final number of trials, set by no_more_trials
        self.silent_ends = 0  # trials that ended without a report
        self.diverged_at = [0 for _ in self.levels]
        self.paused_ranks: list[list[Ranked]] = [[] for _ in self.levels]  # paused trials, best first
        self.paused_at: dict[str, int] = {}  # trial -> level
        self._forget()

    def memory(self) -> tuple[str, ...]:
        """Also the trial counts and the paused trials."""
        return (*super().memory(), "final_count", "silent_ends", "diverged_at", "paused_ranks", "paused_at")

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore `state`, in which JSON may have turned the named tuples into lists."""
        super().load(state)
        self.paused_ranks = [[Ranked(*entry) for entry in level] for level in self.paused_ranks]

    def _forget(self) -> None:
        """Also reset the room sizes and the trials found hopeless."""
        super()._forget()
        self._shares = [self._room_share(level) for level in range(len(self.levels))]
        self._hopeless_heads = [0 for _ in self.levels]  # number of leading paused trials below `min_chance`

    def extension_obstacle(self, *, epochs: bool, trials: bool) -> str:
        """Epochs cannot be added: decisions rest on predicted losses at R."""
        return "trials were stopped by what they would be worth at R" if epochs else ""

    def judge(self, report: Report) -> Decision:
        """Record the loss at a new level, and decide there whether the trial goes on."""
        level = self._record(report)
        if level is None or level < self.first_level or report.resource >= self.max_resource:
            return Continue()
        return self._decide(report.trial_id, level)

    def diverged(self, report: Report) -> Decision:
        """Stop the trial, and count it as the last in rank at the level it did not reach."""
        level = max(len(self.curves.get(report.trial_id, ())), self.first_level)
        if level < len(self.levels):
            self.diverged_at[level] += 1
        return super().diverged(report)

    def on_duplicate_report(self, report: Report) -> Decision:
        """A trial paused at this epoch stays paused."""
        if report.trial_id in self.paused_at and report.resource == self.last_resource[report.trial_id]:
            return Pause(self.last_word(report.trial_id))
        return super().on_duplicate_report(report)

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """Once all trials have started, resume the furthest one whose room holds it."""
        if self._all_started():
            trial = self._pick_within_room(paused, alone=False)
            if trial is None and len(self.curves) == len(self.paused_at):
                trial = self._pick_within_room(paused, alone=True) or self._pick_likeliest(paused)
            if trial is not None:
                return Resume(trial, f"second look: {self._explain(trial, self.paused_at[trial])}")
        if len(paused) <= len(self.paused_at):
            return None  # called many times a second with thousands of paused trials: do not scan them
        # The rest were not paused by this rule.
        return super().resume([trial for trial in paused if trial not in self.paused_at])

    def resumed(self, resume: Resume) -> None:
        """Remove the trial from the paused ones."""
        self._remove_paused(resume.trial_id)

    def no_more_trials(self, trial_ids: Sequence[str]) -> None:
        """Note the final number of trials: from now on paused trials may be resumed."""
        self.final_count = max(self.final_count, len(trial_ids))

    def cannot_pause(self) -> None:
        """From now on stop a trial instead of pausing it."""
        self.can_pause = False

    def end(self, trial_id: str, ending: str) -> None:
        """Record the end; the trial's losses stay in the rankings."""
        if trial_id in self.endings:
            return
        self.silent_ends += trial_id not in self.last_resource
        self._remove_paused(trial_id)
        super().end(trial_id, ending)

    def last_word(self, trial_id: str) -> str:
        """The trial's rank, the room and the prediction."""
        if trial_id not in self.paused_at:
            return super().last_word(trial_id)
        return f"not resumed: {self._explain(trial_id, self.paused_at[trial_id])}"

    def _pick_likeliest(self, paused: Sequence[str]) -> str | None:
        """The paused trial most likely to beat the best, if its chance is at least `hope`."""
        if self.finishes < self.min_finished:
            return None
        chances = [
            (self._outlook(trial, level).chance, level, trial)
            for level in range(self.first_level, len(self.levels))
            for trial in self._promising_trials(self.hope, level, 0, HOPEFUL).values()
            if _is_paused(paused, trial)
        ]
        chance, _, likeliest = max(chances, default=(0.0, 0, ""))
        return likeliest if chance >= self.hope else None

    def _pick_within_room(self, paused: Sequence[str], *, alone: bool) -> str | None:
        """The best resumable trial within its room, the furthest level first.

        `alone` means that no trial is running, so ranks are final.
        """
        for level in range(len(self.levels) - 1, -1, -1):
            if self.paused_ranks[level] and (trial := self._pick_at_level(paused, level, alone)) is not None:
                return trial
        return None

    def _pick_at_level(self, paused: Sequence[str], level: int, alone: bool) -> str | None:
        """The best resumable trial within the room of a level."""
        waiting, room, index = self.paused_ranks[level], self._room(level), 0
        while index < min(len(waiting), REFERENCES):
            trial = waiting[index].trial
            rank = self._rank(trial, level) if alone else self._expected_rank(trial, level)
            if rank > room:
                break
            if not self._is_hopeful(trial, level, rank):
                index = self._index_after(level, index)
            elif _is_paused(paused, trial):
                return trial
            else:
                index += 1
        return None

    def _index_after(self, level: int, hopeless: int) -> int:
        """Index of the next promising trial behind a hopeless one.

        Every trial ranked behind one that needs its prediction needs its own too, so predictions alone
        decide; they change only when a trial finishes, however ranks and rooms move in between.
        """
        if hopeless < self._hopeless_heads[level]:
            return self._hopeless_heads[level]
        end = min(len(self.paused_ranks[level]), REFERENCES)
        index = min(self._promising_trials(self.min_chance, level, hopeless + 1, end), default=end)
        if hopeless == self._hopeless_heads[level]:
            self._hopeless_heads[level] = index
        return index

    def _promising_trials(self, chance: float, level: int, begin: int, end: int) -> dict[int, str]:
        """Index and id of the trials of `waiting[level][begin:end]` that may have such a chance.

        Evaluated together, which is cheap. May include a few too many; `_outlook` decides.
        """
        candidates = self.paused_ranks[level][begin:end]
        if not candidates:
            return {}
        predictor, z = self._predictor(level), self._z([self.curves[trial] for _, trial in candidates])
        threshold = student_quantile(chance * (1 - 1e-3), predictor.nu)
        promising = predictor.distances(z, self._goal()) >= threshold
        return {begin + int(index): candidates[index].trial for index in np.flatnonzero(promising)}

    def _decide(self, trial: str, level: int) -> Decision:
        share = self.early if self.can_pause and not self._all_started() else 1.0
        rank, room = self._expected_rank(trial, level, share), share * self._room(level)
        goes_on = rank <= room and self._is_hopeful(trial, level, rank)
        self._note_outlook(trial, level)
        reason, outlook = self._explain(trial, level), self._outlook(trial, level)
        if goes_on:
            return Continue(reason, outlook=outlook)
        if not self.can_pause:
            return Stop(reason, outlook=outlook)
        self._add_paused(trial, level, outlook.chance)
        return Pause(reason, outlook=outlook)

    def _all_started(self) -> bool:
        """Whether all trials of the sweep have reported or ended."""
        total = self.population_size or self.final_count
        return total > 0 and len(self.last_resource) + self.silent_ends >= total

    def _total(self) -> int:
        return max(self.population_size or 0, self.final_count, len(self.last_resource))

    def _room(self, level: int) -> float:
        """Number of trials that may go on from this level."""
        total = self._total()
        if level < self.first_level:
            return total
        return min(max(self._shares[level] * total, self.min_finished), total)

    def _room_share(self, level: int) -> float:
        """The room as a share of all trials: `keep` per remaining doubling, wider where curves cross."""
        width = min(max(self.crossing_shares[level] / CROSSED, NARROWEST), WIDEST)
        doublings = math.log2(self.max_resource / self.levels[level])
        early: float = (2 * doublings / max(math.log2(self.max_resource), 1.0)) ** BEND
        return self.keep * width * doublings * early

    def _expected_rank(self, trial: str, level: int, share: float = 1.0) -> float:
        """Expected rank among all trials that will reach this level, given the rank among those that have.

        The r-th of n lies about (r - 1/2) / n from the top, whatever trials are still to come. A `share`
        of the room before this one was open.
        """
        arrived = len(self.rungs[level]) + self.diverged_at[level]
        previous_room = self._room(level - 1) * (share if level > self.first_level else 1.0)
        expected = max(arrived, previous_room)
        return (self._rank(trial, level) - 0.5) * expected / arrived + 0.5

    def _rank(self, trial: str, level: int) -> int:
        """Rank among the trials that have reached this level, from 1."""
        return bisect_left(self.rungs[level], self.curves[trial][level]) + 1

    def _is_hopeful(self, trial: str, level: int, rank: float) -> bool:
        """Whether the trial may go on by its prediction; True where the prediction does not count yet."""
        # Within a doubling of the first level judged, the slope is still that of the first epochs.
        predictable = level >= self.first_level + 2 and self.max_resource <= self.levels[level] * 2**FORESIGHT
        if self.finishes < self.min_finished or not predictable or rank <= self._room(level) * SURE:
            return True
        chance = self._outlook(trial, level).chance
        if self.can_pause:
            return chance >= self.min_chance
        # A stop is final, and the trial may yet drop where no slope predicts it, even if none of the n
        # finished ones did: pi (k + 1/2) / (n + 1) with k = 1 and pi = (1/2) / (n + 6).
        jump = 0.5 / (self.finishes + 6) * 1.5 / (self.finishes + 1)
        return chance + jump >= self.min_chance / 10

    def _add_paused(self, trial: str, level: int, chance: float) -> None:
        entry = Ranked(self.curves[trial][level], trial)
        index = bisect_left(self.paused_ranks[level], entry)
        self.paused_ranks[level].insert(index, entry)
        self.paused_at[trial] = level
        heads = self._hopeless_heads[level]
        if index < heads:
            self._hopeless_heads[level] = heads + 1 if chance < self.min_chance else index

    def _remove_paused(self, trial: str) -> None:
        level = self.paused_at.pop(trial, None)
        if level is not None:
            waiting = self.paused_ranks[level]
            index = bisect_left(waiting, Ranked(self.curves[trial][level], trial))
            del waiting[index]
            self._hopeless_heads[level] -= index < self._hopeless_heads[level]

    def _explain(self, trial: str, level: int) -> str:
        """Rank, room and prediction, in one line."""
        outlook = self._outlook(trial, level)
        rank, arrived = self._rank(trial, level), len(self.rungs[level]) + self.diverged_at[level]
        best = (
            "no trial has finished"
            if self.best is None
            else f"the model's chance to beat {self.format_value(self.best)} is {outlook.chance:.2g}"
        )
        return (
            f"epoch {self.levels[level]}: rank {rank} of {arrived}, room for {self._room(level):.0f} of "
            f"{self._total()}; predicted final {self.metric} {self.format_value(outlook.median)} "
            f"({self._range_text(outlook)}), {best}"
        )

    def _range_text(self, outlook: Outlook) -> str:
        """The range of a prediction, and how many earlier ranges held."""
        if outlook.low is None or outlook.high is None:
            return "too few have finished to tell a range"
        low, high = sorted((outlook.low, outlook.high), key=lambda loss: self.sign * loss)
        checked = (
            f"{self.ranges_held} of {self.ranges_given} such ranges held"
            if self.ranges_given
            else "no such range is checked yet"
        )
        return f"{self.format_value(low)} to {self.format_value(high)}; {checked}"


def _is_paused(paused: Sequence[str], trial: str) -> bool:
    """Whether a trial is paused; `paused` is mostly sorted, so a binary search is tried first."""
    index = bisect_left(paused, trial)
    return (index < len(paused) and paused[index] == trial) or trial in paused
