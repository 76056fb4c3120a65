"""Synchronous successive halving, bracket after bracket, and Hyperband, which varies the brackets.

Jamieson, Talwalkar: "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
AISTATS 2016, arXiv:1502.07943. Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar: "Hyperband: A Novel
Bandit-Based Approach to Hyperparameter Optimization", JMLR 2018, arXiv:1603.06560 (R, eta, s, n, r
as there).
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypedDict

from schedulers.asha import rung_levels
from schedulers.errors import InvalidSetting
from schedulers.ranked import Ranked, by_loss
from schedulers.rule import Continue, Decision, Objective, Pause, Report, Resume, Rule, Stop

Sizes = Literal["algorithm", "table"]
UNBOUNDED = 2**31
"""Size of a bracket that takes in every trial there will be, however many."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A bracket as it is meant: so many configurations, compared at these epochs below R."""

    size: int
    levels: tuple[int, ...]


class Bracket(TypedDict):
    """A bracket as it stands. Rung `len(levels)` is R itself, where nobody is compared."""

    members: int  # trials it was ever given
    settled: int  # rungs at which it is decided who goes on
    coming: list[int]  # per rung: members on their way to it, promoted or new
    waiting: list[list[Ranked]]  # per rung: who is there and undecided, best first
    passed: list[int]  # per rung: who went by without having been compared there


class Seat(NamedTuple):
    """Where a trial is: its bracket, and the rung it is at or goes to."""

    bracket: int
    rung: int


class HalvingRule(Rule):
    """Brackets of successive halving, one after another, as planned.

    A trial takes a seat at its first report, in the first bracket that has one. At a rung it pauses.
    When every member that can still come has come, the best floor(n / eta) go on, n counted anew at
    each rung as in Hyperband's Algorithm 1, and the others end. Meanwhile free slots begin the next
    bracket, so only the end of a sweep may leave slots idle.

    Nobody waits for a member that failed, ended or diverged; it counts in n, ranked worst. Nor for
    seats that nobody will take: a bracket is complete when no more trials come, and of a bracket cut
    short like that at least one member goes on. A member that reports only now and then is compared
    at the highest rung it has passed; at those it skipped it takes up a place.

    Equal losses rank in order of arrival.

    Args:
        plans: of the brackets; after the last the first comes again.
        max_resource: R, epochs of a whole trial.
        reduction_factor: eta; the best 1/eta of a rung go on.
        population_size: trials in all; None if nobody knows, then only `no_more_trials` tells.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: if population_size is below 1.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        *,
        max_resource: int,
        reduction_factor: float,
        population_size: int | None,
        objective: Objective,
    ) -> None:
        super().__init__(max_resource=max_resource, objective=objective)
        if population_size is not None and population_size < 1:
            raise InvalidSetting("population_size", f"population_size ({population_size}) must be at least 1")
        self.plans = tuple(plans)
        self.eta = reduction_factor
        self.population = population_size
        self.brackets: list[Bracket] = []
        self.seats: dict[str, Seat] = {}
        self.seated = 0  # trials that ever had a seat
        self.seatless = 0  # trials that ended before they had one
        self.waiting_losses: dict[str, float] = {}  # trial at a rung not yet decided -> its loss
        self.winners: dict[str, str] = {}  # trial that may go on and has not yet -> why
        self.losers: dict[str, str] = {}  # trial that may not, and has not ended yet -> why

    def plan(self, number: int) -> Plan:
        """The bracket of that number, from 0."""
        return self.plans[number % len(self.plans)]

    def memory(self) -> tuple[str, ...]:
        """The brackets, and who stands where."""
        own = ("population", "brackets", "seats", "seated", "seatless", "waiting_losses", "winners", "losers")
        return (*super().memory(), *own)

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up `state`, whose seats and entries JSON may have made lists."""
        super().load(state)
        self.seats = {trial: Seat(*seat) for trial, seat in self.seats.items()}
        for bracket in self.brackets:
            bracket["waiting"] = [[Ranked(*entry) for entry in rung] for rung in bracket["waiting"]]

    def judge(self, report: Report) -> Decision:
        """Wait at a rung; between rungs, and at R, there is nothing to decide."""
        trial, loss = report.trial_id, report.loss
        assert loss is not None
        b, k = self._seat(trial)
        bracket, levels = self.brackets[b], self.plan(b).levels
        there = len(levels)
        if report.resource < self.max_resource:
            there = bisect_right(levels, report.resource) - 1
        if there < k:
            return Continue()
        bracket["coming"][k] -= 1
        for skipped in range(k, there):
            bracket["passed"][skipped] += 1
        self.seats[trial] = Seat(b, there)
        if there == len(levels):
            bracket["coming"][there] += 1
            self._settle(b)
            return Continue()
        self.waiting_losses[trial] = loss
        insort(bracket["waiting"][there], Ranked(loss, trial), key=by_loss)
        self._settle(b)
        return self._now(trial)

    def next_judged(self, trial_id: str, resource: int) -> int:
        """The rung that it goes to; its first report, which gives it a seat."""
        if trial_id not in self.seats:
            return resource + 1
        b, k = self.seats[trial_id]
        levels = self.plan(b).levels
        return levels[k] if k < len(levels) else self.max_resource

    def diverged(self, report: Report) -> Decision:
        """Stop; it counts as a member of its bracket, ranked worst."""
        self._seat(report.trial_id)
        return super().diverged(report)

    def on_duplicate_report(self, report: Report) -> Decision:
        """A trial paused at this epoch is paused again, with what was decided meanwhile."""
        trial = report.trial_id
        waits = trial in self.waiting_losses or self._told(trial)
        if waits and report.resource == self.last_resource[trial]:
            return Pause(self.last_word(trial))
        return super().on_duplicate_report(report)

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """Let a winner go on, the most trained first: it frees places and memory soonest."""
        ready = [trial for trial in paused if trial in self.winners]
        if ready:
            trial = max(ready, key=lambda name: self.last_resource[name])
            return Resume(trial, self.winners[trial])
        # Not ours: another hand paused it.
        return super().resume([t for t in paused if t not in self.waiting_losses and t not in self.losers])

    def resumed(self, resume: Resume) -> None:
        """It is on its way; whoever resumes an undecided one takes a place of its rung for it."""
        trial = resume.trial_id
        self.winners.pop(trial, None)
        if trial in self.waiting_losses:
            b, k = self.seats[trial]
            self._take_out(trial)
            self.brackets[b]["passed"][k] += 1
            self.brackets[b]["coming"][k + 1] += 1
            self.seats[trial] = Seat(b, k + 1)
            self._settle(b)

    def next_unresumable(self, paused: Sequence[str]) -> str | None:
        """A loser of a rung that is decided."""
        return next((trial for trial in paused if trial in self.losers), None)

    def no_more_trials(self, known: Sequence[str]) -> None:
        """Keep no seat free any longer."""
        self.population = len({*known, *self.seats, *self.losers, *self.endings})
        self._settle(len(self.brackets) - 1)

    def end(self, trial_id: str, ending: str) -> None:
        """Nobody waits for it any longer."""
        if trial_id in self.endings:
            return
        super().end(trial_id, ending)
        self.winners.pop(trial_id, None)
        seat = self.seats.pop(trial_id, None)
        if seat is None:
            self.seatless += self.losers.pop(trial_id, None) is None
            self._settle(len(self.brackets) - 1)
            return
        b, k = seat
        if trial_id in self.waiting_losses:
            self._take_out(trial_id, seat)
        else:
            self.brackets[b]["coming"][k] -= 1
        self._settle(b)

    def extension_obstacle(self, *, epochs: bool, trials: bool) -> str:
        """Brackets, their rungs and who sits where were laid out for R and the trials there would be."""
        return (
            "its brackets were laid out for the epochs and trials it began with" if epochs or trials else ""
        )

    def last_word(self, trial_id: str) -> str:
        """What was decided, or what it waited for."""
        if self._told(trial_id):
            return self.winners.get(trial_id) or self.losers[trial_id]
        if trial_id not in self.waiting_losses:
            return super().last_word(trial_id)
        b, k = self.seats[trial_id]
        members = self.brackets[b]["members"] if self._complete(b) else self.plan(b).size
        there = len(self.brackets[b]["waiting"][k])
        if members == UNBOUNDED:
            return (
                f"bracket {b + 1}, rung {self.plan(b).levels[k]}: waits for the rest of the sweep, "
                f"{there} {'is' if there == 1 else 'are'} there"
            )
        return (
            f"bracket {b + 1}, rung {self.plan(b).levels[k]}: waits for the others, "
            f"{there} of {self._count(members, k)} are there"
        )

    def _told(self, trial: str) -> bool:
        return trial in self.winners or trial in self.losers

    def _seat(self, trial: str) -> Seat:
        """The trial's seat; at its first report a free one of the last bracket, or of a new one."""
        if trial not in self.seats:
            if not self.brackets or self._full(len(self.brackets) - 1):
                rungs = len(self.plan(len(self.brackets)).levels)
                self.brackets.append(
                    Bracket(
                        members=0,
                        settled=0,
                        coming=[0] * (rungs + 1),
                        waiting=[[] for _ in range(rungs)],
                        passed=[0] * rungs,
                    )
                )
            last = len(self.brackets) - 1
            self.seated += 1
            self.brackets[last]["members"] += 1
            self.brackets[last]["coming"][0] += 1
            self.seats[trial] = Seat(last, 0)
        return self.seats[trial]

    def _full(self, b: int) -> bool:
        bracket = self.brackets[b]
        return bracket["settled"] > 0 or bracket["members"] >= self.plan(b).size

    def _complete(self, b: int) -> bool:
        """Whether the bracket will get no more members."""
        if b < len(self.brackets) - 1 or self._full(b):
            return True
        return self.population is not None and self.seated + self.seatless >= self.population

    def _settle(self, b: int) -> None:
        """Decide each rung to which nobody is on the way any more, the lowest first."""
        while b >= 0 and (bracket := self.brackets[b])["settled"] < len(bracket["waiting"]):
            k = bracket["settled"]
            if not self._complete(b) or any(bracket["coming"][: k + 1]):
                return
            self._decide(b, k)

    def _decide(self, b: int, k: int) -> None:
        bracket = self.brackets[b]
        there, bracket["waiting"][k] = bracket["waiting"][k], []
        bracket["settled"] += 1
        n, top = self._count(bracket["members"], k), self._count(bracket["members"], k + 1)
        places = max(top - bracket["passed"][k], 0)
        for rank, (loss, trial) in enumerate(there, start=1):
            del self.waiting_losses[trial]
            reason = (
                f"bracket {b + 1}, rung {self.plan(b).levels[k]}: {self.describe(loss)} ranks {rank} of {n}, "
                f"top {top} {'goes' if top == 1 else 'go'} on"
            )
            if rank <= places:
                self.winners[trial] = reason
                self.seats[trial] = Seat(b, k + 1)
                bracket["coming"][k + 1] += 1
            else:
                self.losers[trial] = reason
                del self.seats[trial]

    def _count(self, members: int, k: int) -> int:
        """n_k: how many of so many members come as far as rung k; one at least."""
        for _ in range(k):
            # 1e-9: with eta = 1.1, 11 / 1.1 is 9.999999999999998 in floating point, and means 10.
            members = max(int(members / self.eta + 1e-9), 1)
        return members

    def _now(self, trial: str) -> Decision:
        """The last to come need not pause: it is decided."""
        if trial in self.winners:
            return Continue(self.winners.pop(trial))
        if trial in self.losers:
            return Stop(self.losers[trial])
        return Pause(self.last_word(trial))

    def _take_out(self, trial: str, seat: Seat | None = None) -> None:
        b, k = seat or self.seats[trial]
        self.brackets[b]["waiting"][k].remove(Ranked(self.waiting_losses.pop(trial), trial))


class SuccessiveHalvingRule(HalvingRule):
    """Synchronous successive halving: brackets of one kind, each beginning at r epochs.

    Args:
        max_resource: R, epochs of a whole trial.
        grace_period: r, epochs at the first rung; the next are r·eta, r·eta², … below R.
        reduction_factor: eta, at least 1.1; the best 1/eta of a rung go on.
        bracket_size: n, configurations of a bracket; if None as many as leave one at R, eta^rungs.
            `sweep`: one bracket for all trials, however many. It compares each with all, and begins no
            promotion before all have come to the first rung.
        population_size: trials in all; None if nobody knows.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: for settings under which nobody would be compared with anybody.
    """

    def __init__(
        self,
        *,
        max_resource: int,
        grace_period: int = 1,
        reduction_factor: float = 3,
        bracket_size: int | Literal["sweep"] | None = None,
        population_size: int | None = None,
        objective: Objective = "last",
    ) -> None:
        levels = rung_levels(grace_period, reduction_factor, max_resource)
        if isinstance(bracket_size, str) and bracket_size not in ("sweep",):
            raise InvalidSetting("bracket_size", f"bracket_size is a number or 'sweep', not {bracket_size!r}")
        if bracket_size is None:
            size = math.ceil(reduction_factor ** len(levels) - 1e-9)
        elif bracket_size == "sweep":
            size = UNBOUNDED if population_size is None else max(population_size, 2)
        else:
            size = bracket_size
        if size < 2:
            raise InvalidSetting(
                "bracket_size", f"bracket_size ({size}) must be at least 2: nobody is compared with itself"
            )
        super().__init__(
            [Plan(size, tuple(levels))],
            max_resource=max_resource,
            reduction_factor=reduction_factor,
            population_size=population_size,
            objective=objective,
        )


class HyperbandRule(HalvingRule):
    """Hyperband: brackets from the boldest to the most careful, and then again.

    Bracket s begins with n configurations at R·eta^-s epochs, s from s_max down to 0, whose trials all
    run to the end; each bracket spends about the same number of epochs. So it pays at most a factor
    for not knowing how early a bad trial shows. With TPE as the sampler this is BOHB (Falkner et al.,
    ICML 2018, arXiv:1807.01774).

    Algorithm 1 and Table 1 of the paper differ in n: for R = 81 and eta = 3 the algorithm's
    ceil((s_max + 1) / (s + 1) · eta^s) gives 81, 34, 15, 8, 5, and the table prints 81, 27, 9, 6, 5,
    which is floor((s_max + 1) / (s + 1)) · eta^s.

    Args:
        max_resource: R, epochs of a whole trial.
        grace_period: epochs that nobody is denied; s_max is floor(log_eta(R / grace_period)). The
            paper's 1 gives the most brackets.
        reduction_factor: eta, at least 1.1; the best 1/eta of a rung go on.
        sizes: n as the `algorithm` or the `table` has it.
        population_size: trials in all; None if nobody knows.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: for settings under which nobody would be compared with anybody.
    """

    def __init__(
        self,
        *,
        max_resource: int,
        grace_period: int = 1,
        reduction_factor: float = 3,
        sizes: Sizes = "algorithm",
        population_size: int | None = None,
        objective: Objective = "last",
    ) -> None:
        super().__init__(
            bracket_plans(max_resource, grace_period, reduction_factor, sizes),
            max_resource=max_resource,
            reduction_factor=reduction_factor,
            population_size=population_size,
            objective=objective,
        )


def bracket_plans(
    max_resource: int, grace_period: int = 1, reduction_factor: float = 3, sizes: Sizes = "algorithm"
) -> list[Plan]:
    """Hyperband's brackets, from s_max to 0.

    Raises:
        ValueError: if nobody would be compared with anybody.

    >>> [(plan.size, plan.levels) for plan in bracket_plans(9)]
    [(9, (1, 3)), (5, (3,)), (3, ())]
    """
    if sizes not in ("algorithm", "table"):
        raise InvalidSetting("sizes", f"sizes is 'algorithm' or 'table', not {sizes!r}")
    if not rung_levels(grace_period, reduction_factor, max_resource):
        raise InvalidSetting(
            "grace_period", f"grace_period ({grace_period}) leaves no rung below the epochs ({max_resource})"
        )
    eta, plans = reduction_factor, []
    s_max = int(math.log(max_resource / grace_period, eta) + 1e-9)
    for s in range(s_max, -1, -1):
        share = (s_max + 1) / (s + 1) if sizes == "algorithm" else (s_max + 1) // (s + 1)
        levels = {round(max_resource * eta ** (i - s)) for i in range(s)} - {max_resource}
        plans.append(Plan(math.ceil(share * eta**s - 1e-9), tuple(sorted(levels))))
    return plans
