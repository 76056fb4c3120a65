"""ASHA: asynchronous successive halving, stopping and promotion.

Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht, Talwalkar: "A System for Massively Parallel
Hyperparameter Tuning", MLSys 2020, arXiv:1810.05934 (r, eta, R, s as there).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from schedulers.errors import InvalidSetting
from schedulers.ranked import Ranked, by_loss
from schedulers.rng import generator
from schedulers.rule import Continue, Decision, Objective, Pause, Report, Resume, Rule, Stop

Variant = Literal["stopping", "promotion"]


def rung_levels(grace_period: int, reduction_factor: float, max_resource: int) -> list[int]:
    """Resources (epochs) at which trials are compared: r, r·eta, r·eta², … below R.

    At R every trial ends, so R is no rung.

    Raises:
        ValueError: if grace_period is below 1 or exceeds max_resource, or reduction_factor is below 1.1.

    >>> rung_levels(1, 3, 27)
    [1, 3, 9]
    """
    if not 1.1 <= reduction_factor < math.inf:  # the nearer to 1, the more rungs without an effect
        raise InvalidSetting(
            "reduction_factor",
            f"reduction_factor ({reduction_factor}) must be at least 1.1, and finite: "
            "the best 1/reduction_factor of a rung go on",
            "3 or 4 are usual",
        )
    if not 1 <= grace_period <= max_resource:
        raise InvalidSetting(
            "grace_period",
            f"grace_period ({grace_period}) must lie between 1 and the epochs ({max_resource}), "
            "else no trial reaches a rung",
            "lower it",
        )
    levels: list[int] = []
    exact = float(grace_period)
    while round(exact) < max_resource:
        if not levels or round(exact) > levels[-1]:
            levels.append(round(exact))
        exact *= reduction_factor
    return levels


def floor_of_quotient(n: int, eta: float) -> int:
    """The floor of n / eta, also where floating point rounds the quotient down.

    >>> 33 / 1.1, floor_of_quotient(33, 1.1)
    (29.999999999999996, 30)
    """
    return int(n / eta + 1e-9)


class ASHARule(Rule):
    """A trial goes on from a rung if it is in the top 1/eta of all that ever reached it.

    `stopping`: at a rung a trial goes on if its rank, itself counted, is at most
    max(floor(n / eta), 1), and ends otherwise; no trial waits. (Ray's ASHA interpolates a percentile
    instead, which can change under an increasing map of the loss; ranks cannot.)

    `promotion`: Algorithm 2. At a rung a trial pauses, and the best paused trials are promoted as soon
    as they are among the top floor(n / eta) of their rung, the highest rung first. Unlike in the paper,
    a newcomer already among the top goes straight on, which saves a pause.

    Equal losses rank in order of arrival, so that ties never let more than 1/eta through. A trial
    that does not report every epoch is recorded once, at the highest rung it has passed, and never at
    a lower one with a late loss. A diverged trial counts as ranked worst at the next rung.

    Args:
        max_resource: R, epochs of a whole trial.
        grace_period: r, the first rung of bracket 0.
        reduction_factor: eta, at least 1.1; the top 1/eta of a rung go on.
        brackets: number of brackets; bracket s begins at r·eta^s. The paper runs one; more guard against
            curves that cross.
        seed: of the random choice of brackets; a trial's bracket depends on (seed, trial) alone.
        variant: `stopping` or `promotion`.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: for settings under which no trial would ever be compared.
    """

    def __init__(
        self,
        *,
        max_resource: int,
        grace_period: int = 1,
        reduction_factor: float = 4,
        brackets: int = 1,
        seed: int = 0,
        variant: Variant = "stopping",
        objective: Objective = "last",
    ) -> None:
        super().__init__(max_resource=max_resource, objective=objective)
        if variant not in ("stopping", "promotion"):
            raise InvalidSetting("variant", f"variant is 'stopping' or 'promotion', not {variant!r}")
        levels = rung_levels(grace_period, reduction_factor, max_resource)
        if not 1 <= brackets <= max(len(levels), 1):
            raise InvalidSetting(
                "brackets",
                f"brackets ({brackets}) must lie between 1 and the number of rungs ({len(levels)})",
            )
        self.variant = variant
        self.eta = reduction_factor
        self.seed = seed
        self.levels = [levels[s:] for s in range(brackets)]
        self.chances = _chances([len(bracket) for bracket in self.levels], reduction_factor)
        # Per bracket and rung: all recorded losses, best first; those of paused trials; how many diverged.
        self.rungs: list[list[list[Ranked]]] = [[[] for _ in bracket] for bracket in self.levels]
        self.paused_by_rung: list[list[list[Ranked]]] = [[[] for _ in bracket] for bracket in self.levels]
        self.diverged_at: list[list[int]] = [[0 for _ in bracket] for bracket in self.levels]
        self.next_rung: dict[str, int] = {}  # trial -> index of the rung it has yet to reach
        self.paused_with: dict[str, float] = {}  # paused trial -> its loss at the rung

    def memory(self) -> tuple[str, ...]:
        """Also the rungs, and each trial's position."""
        return (*super().memory(), "rungs", "paused_by_rung", "diverged_at", "next_rung", "paused_with")

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore `state`, in which JSON may have turned the named tuples into lists."""
        super().load(state)
        self.rungs, self.paused_by_rung = (
            [[[Ranked(*entry) for entry in rung] for rung in bracket] for bracket in brackets]
            for brackets in (self.rungs, self.paused_by_rung)
        )

    def bracket(self, trial_id: str) -> int:
        """The trial's bracket s, drawn with Hyperband's shares: fewer trials where r is larger."""
        if len(self.levels) == 1:
            return 0
        draw = float(generator(self.seed, trial_id).random())
        return min(bisect_right(self.chances, draw), len(self.levels) - 1)

    def judge(self, report: Report) -> Decision:
        """Compare at a rung; continue between rungs and at R."""
        trial, loss = report.trial_id, report.loss
        assert loss is not None
        s = self.bracket(trial)
        k = bisect_right(self.levels[s], report.resource) - 1
        if k < self.next_rung.setdefault(trial, 0) or report.resource >= self.max_resource:
            return Continue()
        self.next_rung[trial] = k + 1
        rank = _insert(self.rungs[s][k], loss, trial)
        n, level = self._count(s, k), self.levels[s][k]
        top = self._top(n)
        verdict = f"rung {level}: {self.describe(loss)} ranks {rank} of {n}, "
        if self.variant == "promotion":
            if rank <= top:
                return Continue(f"{verdict}top {top} promoted")
            _insert(self.paused_by_rung[s][k], loss, trial)
            self.paused_with[trial] = loss
            return Pause(f"{verdict}top {top} promoted; waits for its turn")
        top = max(top, 1)
        reason = f"{verdict}top {top} {'goes' if top == 1 else 'go'} on"
        return Continue(reason) if rank <= top else Stop(reason)

    def next_judged(self, trial_id: str, resource: int) -> int:
        """The next rung of the trial's bracket."""
        levels = self.levels[self.bracket(trial_id)]
        k = bisect_right(levels, resource)
        return levels[k] if k < len(levels) else self.max_resource

    def diverged(self, report: Report) -> Decision:
        """Stop the trial, and count it at the rung that it did not reach."""
        s = self.bracket(report.trial_id)
        k = max(self.next_rung.get(report.trial_id, 0), bisect_left(self.levels[s], report.resource))
        if k < len(self.levels[s]):
            self.diverged_at[s][k] += 1
        return super().diverged(report)

    def on_duplicate_report(self, report: Report) -> Decision:
        """A trial paused at this epoch is paused again."""
        if report.trial_id in self.paused_with and report.resource == self.last_resource[report.trial_id]:
            return Pause(self.last_word(report.trial_id))
        return super().on_duplicate_report(report)

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """Promote the best paused trial within the top 1/eta of its rung, the highest rung first."""
        for level, s, k in sorted(
            ((level, s, k) for s, bracket in enumerate(self.levels) for k, level in enumerate(bracket)),
            key=lambda rung: (-rung[0], rung[1]),
        ):
            n = self._count(s, k)
            top = self._top(n)
            for loss, trial in self.paused_by_rung[s][k]:
                rank = _rank(self.rungs[s][k], loss, trial)
                if rank > top:
                    break
                if trial in paused:
                    reason = (
                        f"promoted from rung {level}: {self.describe(loss)} ranks {rank} of {n}, "
                        f"top {top} promoted"
                    )
                    return Resume(trial, reason)
        if len(paused) <= len(self.paused_with):
            return None  # called many times a second with thousands of paused trials: do not scan them
        # The rest were not paused by this rule.
        return super().resume([trial for trial in paused if trial not in self.paused_with])

    def resumed(self, resume: Resume) -> None:
        """Remove the trial from the paused ones."""
        self._remove_paused(resume.trial_id)

    def cannot_pause(self) -> None:
        """From now on stop a trial instead of pausing it."""
        self.variant = "stopping"

    def end(self, trial_id: str, ending: str) -> None:
        """Record the end; the trial's losses stay in the rungs."""
        super().end(trial_id, ending)
        self._remove_paused(trial_id)

    def last_word(self, trial_id: str) -> str:
        """The rung at which the trial waited, and its rank there."""
        if trial_id not in self.paused_with:
            return super().last_word(trial_id)
        s, k = self.bracket(trial_id), self.next_rung[trial_id] - 1
        n = self._count(s, k)
        rank = _rank(self.rungs[s][k], self.paused_with[trial_id], trial_id)
        return f"rung {self.levels[s][k]}: ranks {rank} of {n}, top {self._top(n)} promoted"

    def _remove_paused(self, trial: str) -> None:
        loss = self.paused_with.pop(trial, None)
        if loss is not None:
            waiting = self.paused_by_rung[self.bracket(trial)][self.next_rung[trial] - 1]
            del waiting[_rank(waiting, loss, trial) - 1]

    def _count(self, s: int, k: int) -> int:
        return len(self.rungs[s][k]) + self.diverged_at[s][k]

    def _top(self, n: int) -> int:
        return floor_of_quotient(n, self.eta)


def _insert(rung: list[Ranked], loss: float, trial: str) -> int:
    """Insert an entry behind equal ones; returns its rank, from 1. O(log n) comparisons."""
    index = bisect_right(rung, loss, key=by_loss)
    rung.insert(index, Ranked(loss, trial))
    return index + 1


def _rank(rung: list[Ranked], loss: float, trial: str) -> int:
    """The rank, from 1, of an entry of the rung."""
    index = bisect_left(rung, loss, key=by_loss)
    while rung[index].trial != trial:
        index += 1
    return index + 1


def _chances(rungs: Sequence[int], eta: float) -> list[float]:
    """Cumulative probabilities of the brackets: one of k rungs gets a share of eta^k / (k + 1).

    Hyperband's n_s (Li et al., JMLR 2018, arXiv:1603.06560, Algorithm 1, line 2), without its ceiling.
    """
    shares = [eta**k / (k + 1) for k in rungs]
    return [sum(shares[: s + 1]) / sum(shares) for s in range(len(shares))]
