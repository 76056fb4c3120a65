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

from schedulers.asha import floor_of_quotient, rung_levels
from schedulers.errors import InvalidSetting, require_at_least
from schedulers.ranked import Ranked, by_loss
from schedulers.rule import Continue, Decision, Objective, Pause, Report, Resume, Rule, Stop

Sizes = Literal["algorithm", "table"]
UNBOUNDED = 2**31
"""Size of a bracket for all trials of a sweep whose number is unknown."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The layout of a bracket: its number of configurations, and the epochs of its rungs below R."""

    size: int
    levels: tuple[int, ...]


class Bracket(TypedDict):
    """The state of a bracket. Rung `len(levels)` is R itself, where trials are not compared."""

    members: int  # trials that ever had a seat
    decided: int  # rungs, from the lowest, that are decided
    coming: list[int]  # per rung: number of members on their way to it
    waiting: list[list[Ranked]]  # per rung: undecided members that have reached it, best first
    passed: list[int]  # per rung: number of members that went past without being compared


class Seat(NamedTuple):
    """A trial's bracket, and the rung that it is at or on its way to."""

    bracket: int
    rung: int


class HalvingRule(Rule):
    """Brackets of successive halving, one after another.

    A trial takes a seat at its first report, in the last bracket or, if that is full, in a new one. At a
    rung it pauses. When every member that can still reach the rung has reached it, the best floor(n / eta)
    go on, with n computed anew at each rung as in Hyperband's Algorithm 1, and the others end. Meanwhile
    free slots start the next bracket, so slots may be idle only at the end of a sweep.

    Members that failed, ended or diverged are not waited for; they count in n, ranked worst. A bracket
    with free seats is complete when no more trials come, and at least one member of it goes on. A member
    that does not report every epoch is compared at the highest rung it has passed; at each one it skipped
    it takes one of the places of those that go on.

    Equal losses rank in order of arrival.

    Args:
        plans: layouts of the brackets, used in turn, again and again.
        max_resource: R, epochs of a whole trial.
        reduction_factor: eta; the best 1/eta of a rung go on.
        population_size: trials in all; None if unknown until `no_more_trials`.
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
        if population_size is not None:
            require_at_least(1, population_size=population_size)
        self.plans = tuple(plans)
        self.eta = reduction_factor
        self.population = population_size
        self.brackets: list[Bracket] = []
        self.seats: dict[str, Seat] = {}
        self.seated = 0  # trials that ever had a seat
        self.seatless = 0  # trials that ended before they had one
        self.waiting_losses: dict[str, float] = {}  # trial at an undecided rung -> its loss
        self.winners: dict[str, str] = {}  # paused trial that goes on -> the reason
        self.losers: dict[str, str] = {}  # paused trial that ends -> the reason

    def plan(self, number: int) -> Plan:
        """The layout of a bracket, by its number from 0."""
        return self.plans[number % len(self.plans)]

    def memory(self) -> tuple[str, ...]:
        """Also the brackets, the seats and what is decided."""
        own = ("population", "brackets", "seats", "seated", "seatless", "waiting_losses", "winners", "losers")
        return (*super().memory(), *own)

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore `state`, in which JSON may have turned the named tuples into lists."""
        super().load(state)
        self.seats = {trial: Seat(*seat) for trial, seat in self.seats.items()}
        for bracket in self.brackets:
            bracket["waiting"] = [[Ranked(*entry) for entry in rung] for rung in bracket["waiting"]]

    def judge(self, report: Report) -> Decision:
        """Wait at a rung; continue between rungs and at R."""
        trial, loss = report.trial_id, report.loss
        assert loss is not None
        b, k = self._seat(trial)
        bracket, levels = self.brackets[b], self.plan(b).levels
        rung = len(levels)
        if report.resource < self.max_resource:
            rung = bisect_right(levels, report.resource) - 1
        if rung < k:
            return Continue()
        bracket["coming"][k] -= 1
        for skipped in range(k, rung):
            bracket["passed"][skipped] += 1
        self.seats[trial] = Seat(b, rung)
        if rung == len(levels):
            bracket["coming"][rung] += 1
            self._decide_rungs(b)
            return Continue()
        self.waiting_losses[trial] = loss
        insort(bracket["waiting"][rung], Ranked(loss, trial), key=by_loss)
        self._decide_rungs(b)
        if trial in self.winners:  # the last to arrive need not pause
            return Continue(self.winners.pop(trial))
        if trial in self.losers:
            return Stop(self.losers[trial])
        return Pause(self.last_word(trial))

    def next_judged(self, trial_id: str, resource: int) -> int:
        """The trial's next rung; its first report, if it has no seat yet."""
        if trial_id not in self.seats:
            return resource + 1
        b, k = self.seats[trial_id]
        levels = self.plan(b).levels
        return levels[k] if k < len(levels) else self.max_resource

    def diverged(self, report: Report) -> Decision:
        """Stop the trial; it counts as a member of its bracket, ranked worst."""
        self._seat(report.trial_id)
        return super().diverged(report)

    def on_duplicate_report(self, report: Report) -> Decision:
        """A trial paused at this epoch is paused again, with what was decided meanwhile as the reason."""
        trial = report.trial_id
        is_paused = trial in self.waiting_losses or trial in self.winners or trial in self.losers
        if is_paused and report.resource == self.last_resource[trial]:
            return Pause(self.last_word(trial))
        return super().on_duplicate_report(report)

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """Resume a winner, the most trained first: it frees memory soonest."""
        ready = [trial for trial in paused if trial in self.winners]
        if ready:
            trial = max(ready, key=lambda name: self.last_resource[name])
            return Resume(trial, self.winners[trial])
        # The rest were not paused by this rule.
        return super().resume([t for t in paused if t not in self.waiting_losses and t not in self.losers])

    def resumed(self, resume: Resume) -> None:
        """Note that a winner is on its way; an undecided trial takes one of the places of its rung."""
        trial = resume.trial_id
        self.winners.pop(trial, None)
        if trial in self.waiting_losses:
            b, k = self.seats[trial]
            self._remove_waiting(trial, self.seats[trial])
            self.brackets[b]["passed"][k] += 1
            self.brackets[b]["coming"][k + 1] += 1
            self.seats[trial] = Seat(b, k + 1)
            self._decide_rungs(b)

    def next_unresumable(self, paused: Sequence[str]) -> str | None:
        """A trial that has lost at a decided rung."""
        return next((trial for trial in paused if trial in self.losers), None)

    def no_more_trials(self, trial_ids: Sequence[str]) -> None:
        """Note the final number of trials: free seats stay free."""
        self.population = len({*trial_ids, *self.seats, *self.losers, *self.endings})
        self._decide_rungs(len(self.brackets) - 1)

    def end(self, trial_id: str, ending: str) -> None:
        """Record the end, and wait for the trial no longer."""
        if trial_id in self.endings:
            return
        super().end(trial_id, ending)
        self.winners.pop(trial_id, None)
        seat = self.seats.pop(trial_id, None)
        if seat is None:
            self.seatless += self.losers.pop(trial_id, None) is None
            self._decide_rungs(len(self.brackets) - 1)
            return
        b, k = seat
        if trial_id in self.waiting_losses:
            self._remove_waiting(trial_id, seat)
        else:
            self.brackets[b]["coming"][k] -= 1
        self._decide_rungs(b)

    def extension_obstacle(self, *, epochs: bool, trials: bool) -> str:
        """Neither epochs nor trials can be added: brackets and seats depend on both."""
        return (
            "its brackets were laid out for the epochs and trials it began with" if epochs or trials else ""
        )

    def last_word(self, trial_id: str) -> str:
        """The decision on the trial, or what it waits for."""
        decided = self.winners.get(trial_id) or self.losers.get(trial_id)
        if decided:
            return decided
        if trial_id not in self.waiting_losses:
            return super().last_word(trial_id)
        b, k = self.seats[trial_id]
        members = self.brackets[b]["members"] if self._is_complete(b) else self.plan(b).size
        arrived = len(self.brackets[b]["waiting"][k])
        if members == UNBOUNDED:
            return (
                f"bracket {b + 1}, rung {self.plan(b).levels[k]}: waits for the rest of the sweep, "
                f"{arrived} {'is' if arrived == 1 else 'are'} there"
            )
        return (
            f"bracket {b + 1}, rung {self.plan(b).levels[k]}: waits for the others, "
            f"{arrived} of {self._count(members, k)} are there"
        )

    def _seat(self, trial: str) -> Seat:
        """The trial's seat; a new trial takes a free one of the last bracket, or of a new bracket."""
        if trial not in self.seats:
            if not self.brackets or self._is_full(len(self.brackets) - 1):
                rungs = len(self.plan(len(self.brackets)).levels)
                self.brackets.append(
                    Bracket(
                        members=0,
                        decided=0,
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

    def _is_full(self, b: int) -> bool:
        bracket = self.brackets[b]
        return bracket["decided"] > 0 or bracket["members"] >= self.plan(b).size

    def _is_complete(self, b: int) -> bool:
        """Whether the bracket will get no more members."""
        if b < len(self.brackets) - 1 or self._is_full(b):
            return True
        return self.population is not None and self.seated + self.seatless >= self.population

    def _decide_rungs(self, b: int) -> None:
        """Decide each rung that no more members are on their way to, the lowest first."""
        while b >= 0 and (bracket := self.brackets[b])["decided"] < len(bracket["waiting"]):
            k = bracket["decided"]
            if not self._is_complete(b) or any(bracket["coming"][: k + 1]):
                return
            self._decide_rung(b, k)

    def _decide_rung(self, b: int, k: int) -> None:
        bracket = self.brackets[b]
        ranking, bracket["waiting"][k] = bracket["waiting"][k], []
        bracket["decided"] += 1
        n, top = self._count(bracket["members"], k), self._count(bracket["members"], k + 1)
        places = max(top - bracket["passed"][k], 0)
        for rank, (loss, trial) in enumerate(ranking, start=1):
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
        """n_k: number of the members that get to rung k; at least one."""
        for _ in range(k):
            members = max(floor_of_quotient(members, self.eta), 1)
        return members

    def _remove_waiting(self, trial: str, seat: Seat) -> None:
        entry = Ranked(self.waiting_losses.pop(trial), trial)
        self.brackets[seat.bracket]["waiting"][seat.rung].remove(entry)


class SuccessiveHalvingRule(HalvingRule):
    """Synchronous successive halving: equal brackets, whose first rung is at r epochs.

    Args:
        max_resource: R, epochs of a whole trial.
        grace_period: r, epochs at the first rung; the next are r·eta, r·eta², … below R.
        reduction_factor: eta, at least 1.1; the best 1/eta of a rung go on.
        bracket_size: n, configurations of a bracket; if None eta^rungs, of which one reaches R.
            `sweep`: one bracket for all trials, in which all are compared, and none is promoted before
            all have reached the first rung.
        population_size: trials in all; None if unknown.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: for settings under which no trials would be compared.
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
                "bracket_size",
                f"bracket_size ({size}) must be at least 2: a single trial is compared with no other",
            )
        super().__init__(
            [Plan(size, tuple(levels))],
            max_resource=max_resource,
            reduction_factor=reduction_factor,
            population_size=population_size,
            objective=objective,
        )


class HyperbandRule(HalvingRule):
    """Hyperband: brackets from the most to the least aggressive, again and again.

    Bracket s begins with n configurations at R·eta^-s epochs, for s from s_max down to 0, whose trials
    all run to the end; each bracket spends about the same number of epochs. So not knowing how early a
    bad trial shows costs at most a constant factor. With TPE as the sampler this is BOHB (Falkner et
    al., ICML 2018, arXiv:1807.01774).

    Algorithm 1 and Table 1 of the paper differ in n: for R = 81 and eta = 3 the algorithm's
    ceil((s_max + 1) / (s + 1) · eta^s) gives 81, 34, 15, 8, 5, and the table prints 81, 27, 9, 6, 5,
    which is floor((s_max + 1) / (s + 1)) · eta^s.

    Args:
        max_resource: R, epochs of a whole trial.
        grace_period: epochs that every trial may run; s_max is floor(log_eta(R / grace_period)). The
            paper's 1 gives the most brackets.
        reduction_factor: eta, at least 1.1; the best 1/eta of a rung go on.
        sizes: n as in the `algorithm` or as in the `table`.
        population_size: trials in all; None if unknown.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: for settings under which no trials would be compared.
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
    """Layouts of Hyperband's brackets, from s_max to 0.

    Raises:
        ValueError: for settings under which no trials would be compared.

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
