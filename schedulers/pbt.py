"""PBT: population based training, exploit by copying and explore within the declared bounds.

Jaderberg et al.: "Population Based Training of Neural Networks", 2017, arXiv:1711.09846.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from schedulers.errors import InvalidSetting
from schedulers.rng import generator
from schedulers.rule import Continue, Decision, Ending, Exploit, Objective, Pause, Report, Resume, Rule, Stop
from schedulers.space import FACTORS, Domain


class Member(NamedTuple):
    """A member at a milestone.

    Attributes:
        loss: None where it diverged or failed.
        trial: whose.
        config: its flat configuration; empty where it has no weights to copy.
        copyable: whether its checkpoint of this milestone may be copied.
    """

    loss: float | None
    trial: str
    config: Mapping[str, Any]
    copyable: bool

    @property
    def rank_key(self) -> float:
        """The loss by which it ranks: lost members come last."""
        return math.inf if self.loss is None else self.loss


class Order(NamedTuple):
    """A copy that a member has yet to carry out: an `Exploit`, and what its donor was worth."""

    donor: str
    resource: int
    config: Mapping[str, Any]
    reason: str
    worth: float

    def exploit(self) -> Exploit:
        """The decision; its configuration is a copy, the caller's to keep."""
        return Exploit(self.donor, self.resource, dict(self.config), self.reason)


_rank_key = attrgetter("rank_key")


class PBTRule(Rule):
    """At every milestone the worst quantile copies the best quantile and perturbs what it copied.

    A milestone is a multiple of `perturbation_interval` below R. Losses are compared at equal
    resource only, and a loser at resource r goes on from the donor's checkpoint at r: no member's
    epoch ever goes back. (Ray's PBT ranks scores of different ages.)

    `synchronous` (the default): each member pauses at a milestone; when the last that can still come
    has come, all are ranked at once. Members share slots by turns, so a population larger than the
    number of slots costs nothing extra, every ranking is of the whole population, and the outcome
    does not depend on which worker was faster. The price is idle slots while the slowest finishes
    its interval, when slots >= population. Nobody waits for a member that failed, ended, diverged or
    never reports at a milestone; waiting is by pause, so no two members can wait for each other.

    `synchronous=False`: a member is ranked on arrival among those that were there before it, once
    they and it are half the population (2 at least): fewer would be a ranking by accident. Nobody
    waits; early arrivals escape a comparison that later ones face.

    A member that diverges or fails is replaced first: it waits for the next milestone, ranked worst
    there (asynchronously: until one sound member has come), and goes on from a donor's checkpoint.
    Past the last milestone there is nothing left to gain, and it stops. So does a member that fails
    before the first epoch since it was replaced: the copy did not fix it.

    Each draw has a generator of its own, from (seed, trial, resource).

    Args:
        max_resource: R, epochs of a whole trial.
        perturbation_interval: epochs between milestones.
        space: flat key -> domain of each searched parameter.
        population_size: members in all, whether started yet or not.
        quantile_fraction: share of the population that copies, and that is copied; up to 0.5.
        resample_probability: chance of a parameter to be drawn anew instead of perturbed.
        perturbation_factors: multipliers of a perturbed number; choices move to a neighbour.
        seed: of all draws.
        synchronous: see above.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: for settings under which nobody could ever copy anybody.
    """

    replaces = True

    def __init__(
        self,
        *,
        max_resource: int,
        perturbation_interval: int,
        space: Mapping[str, Domain],
        population_size: int,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: Sequence[float] = FACTORS,
        seed: int = 0,
        synchronous: bool = True,
        objective: Objective = "last",
    ) -> None:
        super().__init__(max_resource=max_resource, objective=objective)
        if perturbation_interval < 1:
            raise InvalidSetting(
                "perturbation_interval", f"perturbation_interval ({perturbation_interval}) must be at least 1"
            )
        if population_size < 2:
            raise InvalidSetting(
                "population_size",
                f"population_size ({population_size}) must be at least 2: nobody copies itself",
            )
        if not 0 < quantile_fraction <= 0.5:
            raise InvalidSetting(
                "quantile_fraction", f"quantile_fraction ({quantile_fraction}) must lie in (0, 0.5]"
            )
        if not 0 <= resample_probability <= 1:
            raise InvalidSetting(
                "resample_probability", f"resample_probability ({resample_probability}) must lie in [0, 1]"
            )
        if not perturbation_factors or any(factor <= 0 for factor in perturbation_factors):
            raise InvalidSetting(
                "perturbation_factors",
                f"perturbation_factors ({perturbation_factors}) must be positive, and at least one",
            )
        self.parameters = tuple(space)
        self.perturbation_interval = perturbation_interval
        self.space = dict(space)
        self.quantile_fraction = quantile_fraction
        self.resample_probability = resample_probability
        self.perturbation_factors = tuple(perturbation_factors)
        self.seed = seed
        self.synchronous = synchronous
        self.population = population_size
        # Keys of milestones are strings because JSON knows no others.
        self.scores: dict[str, list[Member]] = {}  # open milestone -> who came, best first
        self.skipped: dict[str, int] = {}  # open milestone -> members that passed it without a report
        self.place: dict[str, int] = {}  # trial -> its resource, or the milestone a lost one waits for
        self.waiting: dict[str, int] = {}  # trial -> the milestone at which it waits
        self.orders: dict[str, Order] = {}  # trial -> the exploit it has yet to carry out
        self.lost: dict[str, str] = {}  # diverged or failed trial -> by what
        self.failures: dict[str, int] = {}  # failed trial -> the milestone at which it was, or is, replaced
        self.ended_at: list[int] = []  # places of the ended, ascending

    def memory(self) -> tuple[str, ...]:
        """Open milestones, and who waits for what."""
        own = (
            "population",
            "scores",
            "skipped",
            "place",
            "waiting",
            "orders",
            "lost",
            "failures",
            "ended_at",
        )
        return (*super().memory(), *own)

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up `state`, whose members and orders JSON may have made lists."""
        super().load(state)
        self.scores = {at: [Member(*each) for each in members] for at, members in self.scores.items()}
        self.orders = {trial: Order(*order) for trial, order in self.orders.items()}

    def judge(self, report: Report) -> Decision:
        """Rank at a milestone; between milestones there is nothing to decide."""
        trial, resource = report.trial_id, report.resource
        self._advance(trial, resource)
        if not self._is_milestone(resource):
            return Continue()
        member = Member(report.loss, trial, dict(report.config), copyable=True)
        insort(self.scores.setdefault(str(resource), []), member, key=_rank_key)
        return self._wait(trial, resource) if self.synchronous else self._rank_now(member, resource)

    def next_judged(self, trial_id: str, resource: int) -> int:
        """The next milestone; its first report, for whoever gave way waits until every member has begun."""
        return self._next_milestone(resource + 1) if trial_id in self.place else resource + 1

    def diverged(self, report: Report) -> Decision:
        """Wait for the next milestone, to be replaced there."""
        milestone = self._next_milestone(report.resource)
        if milestone >= self.max_resource:
            return super().diverged(report)
        self.failures.pop(report.trial_id, None)
        return self._fall(
            report.trial_id,
            milestone,
            f"{self.metric} is {self.format_value(report.loss)} at epoch {report.resource}",
        )

    def failed(self, trial_id: str, reason: str) -> Pause | Exploit | None:
        """As one that diverged; but a copy that fails at once will fail again."""
        seen = self.last_resource.get(trial_id, 0)
        milestone = self._next_milestone(seen + 1)
        no_better = seen <= self.failures.get(trial_id, -1)
        if trial_id in self.endings or milestone >= self.max_resource or no_better:
            return None
        self.failures[trial_id] = milestone
        decision = self._fall(trial_id, milestone, f"failed in epoch {seen + 1}: {reason}")
        return decision if isinstance(decision, Pause | Exploit) else None

    def _next_milestone(self, resource: int) -> int:
        return -(-resource // self.perturbation_interval) * self.perturbation_interval

    def _fall(self, trial: str, milestone: int, what: str) -> Decision:
        """Line a member without weights up for a donor's."""
        self._advance(trial, milestone)
        self.lost[trial] = what
        lost = Member(None, trial, {}, copyable=False)
        insort(self.scores.setdefault(str(milestone), []), lost, key=_rank_key)
        if self.synchronous:
            return self._wait(trial, milestone)
        self.waiting[trial] = milestone
        self._rescue(milestone)
        if trial in self.orders:
            return self.orders[trial].exploit()
        return Pause(f"{self.lost[trial]}; waits for a donor at epoch {milestone}", save=False)

    def on_duplicate_report(self, report: Report) -> Decision:
        """Who waited waits again; a milestone is worth a checkpoint again, the first may be lost."""
        trial = report.trial_id
        if trial in self.endings:
            return super().on_duplicate_report(report)
        if report.resource == self.last_resource[trial] and trial in self.orders:
            return self.orders[trial].exploit()
        if report.resource == self.last_resource[trial] and trial in self.waiting:
            return Pause(f"waits at epoch {self.waiting[trial]}", save=trial not in self.lost)
        return Continue("already reported", milestone=self._is_milestone(report.resource))

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """Let the least trained go on, of those that wait for nobody; but first let every member begin.

        Else the first to come would train to their end before the others had started, and be compared
        with nobody.
        """
        ready = [trial for trial in paused if trial in self.orders or trial not in self.waiting]
        if not self.synchronous and len(self.place) < self.population:
            ready = [trial for trial in ready if trial in self.orders]
        if not ready:
            return None
        trial = min(ready, key=lambda name: self.place.get(name, 0))
        if trial not in self.orders:
            return Resume(trial, "its turn again")
        exploit = self.orders[trial].exploit()
        return Resume(trial, exploit.reason, exploit)

    def resumed(self, resume: Resume) -> None:
        """Its order, if it had one, is carried out."""
        trial = resume.trial_id
        order = self.orders.pop(trial, None)
        self.waiting.pop(trial, None)
        if order is not None and resume.exploit is not None:
            self.lost.pop(trial, None)
            self.last_resource[trial] = order.resource
            # Under objective `best` the copy is worth what its donor was, not what the loser had.
            self.objective_loss[trial] = order.worth

    def no_more_trials(self, known: Sequence[str]) -> None:
        """Wait for no member that will never be."""
        self.population = min(self.population, len({*known, *self.place}))
        self._settle_all()

    def end(self, trial_id: str, ending: str) -> None:
        """Nobody waits for it any longer, and nobody copies it."""
        if trial_id in self.endings:
            return
        super().end(trial_id, ending)
        insort(self.ended_at, self.place.setdefault(trial_id, 0))
        self.waiting.pop(trial_id, None)
        self.orders.pop(trial_id, None)
        self._settle_all()

    def extension_obstacle(self, *, epochs: bool, trials: bool) -> str:
        """More epochs are more milestones; but a population is complete from the start."""
        return "a population has its size from the start: a newcomer has nobody of its age" if trials else ""

    def last_word(self, trial_id: str) -> str:
        """A lost member that nobody could replace, or one whose others are gone."""
        if trial_id in self.lost:
            return f"{self.lost[trial_id]}; no donor was left to copy"
        return super().last_word(trial_id)

    def last_decision(self, trial_id: str) -> Stop:
        """A diverged member ends as diverged, a failed one as failed."""
        fallen: Ending = "failed" if trial_id in self.failures else "diverged"
        return Stop(self.last_word(trial_id), fallen if trial_id in self.lost else "stopped")

    def is_exploit_source(self, resource: int) -> bool:
        """As long as a member that is not over has yet to leave the milestone behind."""
        if not self._is_milestone(resource):
            return False
        unborn = len(self.place) < self.population
        return unborn or any(
            place <= resource for trial, place in self.place.items() if trial not in self.endings
        )

    def explore(self, config: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The donor's configuration, each searched parameter perturbed in its bounds or drawn anew."""
        explored = dict(config)
        for key, domain in self.space.items():
            if key not in config:
                continue  # conditional, and not active in this configuration
            if rng.random() < self.resample_probability:
                explored[key] = domain.sample(rng)
            else:
                explored[key] = domain.perturb(config[key], rng, self.perturbation_factors)
        return explored

    def _is_milestone(self, resource: int) -> bool:
        return resource % self.perturbation_interval == 0 and resource < self.max_resource

    def _advance(self, trial: str, resource: int) -> None:
        """Move the trial's place; milestones jumped over will never have a report of it."""
        every = self.perturbation_interval
        before, self.place[trial] = self.place.get(trial, 0), resource
        passed = range((before // every + 1) * every, min(resource, self.max_resource), every)
        for milestone in passed:
            self.skipped[str(milestone)] = self.skipped.get(str(milestone), 0) + 1
        if passed:
            self._settle_all()

    def _wait(self, trial: str, milestone: int) -> Decision:
        """Pause until all have come; if this was the last to come, go on at once."""
        self.waiting[trial] = milestone
        self._settle_all()
        if trial in self.orders:
            return self.orders[trial].exploit()
        if trial not in self.waiting:
            return Continue(f"the population is complete at epoch {milestone}", milestone=True)
        if str(milestone) not in self.scores:
            return self.last_decision(trial)  # all have come, and none of them is sound
        word = (
            f"waits at epoch {milestone}: {len(self.scores[str(milestone)])} of {self.population} are there"
        )
        return Pause(f"{self.lost[trial]}; {word}", save=False) if trial in self.lost else Pause(word)

    def _settle_all(self) -> None:
        """Close each milestone that everybody has reached, passed by or failed to reach."""
        for milestone in sorted(map(int, self.scores)):
            accounted = len(self.scores[str(milestone)]) + self.skipped.get(str(milestone), 0)
            if accounted + bisect_left(self.ended_at, milestone) < self.population:
                continue
            if self.synchronous:
                self._settle(milestone)
            if self.synchronous or milestone not in self.waiting.values():
                del self.scores[str(milestone)]
                self.skipped.pop(str(milestone), None)

    def _settle(self, milestone: int) -> None:
        """All have come: the worst are told whom to copy, everybody else is free to go on."""
        members = [member for member in self.scores[str(milestone)] if member.trial not in self.endings]
        n = len(members)
        k = self._quantile(n)
        donors = [member for member in members if member.loss is not None][:k]
        for place, member in enumerate(members):
            if donors and (member.loss is None or place >= n - k):
                self._copy(member, f"ranks {place + 1} of {n}", donors, milestone)
            if member.loss is not None:
                self.waiting.pop(member.trial, None)

    def _rank_now(self, newcomer: Member, milestone: int) -> Decision:
        """Asynchronous: rank the newcomer among those that came before it."""
        members = self.scores[str(milestone)]
        n = len(members)
        rank = bisect_right(members, newcomer.rank_key, key=_rank_key)  # of equals the newcomer is last
        k = self._quantile(n)
        loser = n >= max(2, math.ceil(self.population / 2)) and rank > n - k
        donors = self._donors(members[:k]) if loser else []
        if donors:
            # From here on it has its donor's weights, at this very epoch.
            members[rank - 1] = newcomer._replace(copyable=False)
            self._copy(newcomer, f"ranks {rank} of {n}", donors, milestone)
        self._rescue(milestone)
        self._settle_all()
        if newcomer.trial in self.orders:
            return self.orders[newcomer.trial].exploit()
        verdict = f"{self.describe(newcomer.loss)} ranks {rank} of {n} at epoch {milestone}"
        return Continue(verdict, milestone=True)

    def _rescue(self, milestone: int) -> None:
        """Asynchronous: give the lost that wait here a donor, if there is one."""
        waiting = [t for t, where in self.waiting.items() if where == milestone and t not in self.orders]
        if not waiting:
            return
        members = self.scores[str(milestone)]
        donors = self._donors(members)[: max(self._quantile(len(members)), 1)]
        for trial in waiting if donors else ():
            self._copy(Member(None, trial, {}, copyable=False), "", donors, milestone)

    def _donors(self, members: Sequence[Member]) -> list[Member]:
        return [member for member in members if member.copyable and member.trial not in self.endings]

    def _copy(self, member: Member, ranks: str, donors: Sequence[Member], milestone: int) -> None:
        """Write the order: which donor, and its configuration explored."""
        trial = member.trial
        rng = generator(self.seed, trial, milestone)
        donor = donors[int(rng.integers(len(donors)))]
        assert donor.loss is not None
        mine = (
            self.lost[trial]
            if member.loss is None
            else f"{self.describe(member.loss)} {ranks} at epoch {milestone}"
        )
        theirs = f"copies trial {donor.trial} ({self.describe(donor.loss)} at epoch {milestone})"
        config = self.explore(donor.config, rng)
        self.orders[trial] = Order(donor.trial, milestone, config, f"{mine}; {theirs}", donor.loss)

    def _quantile(self, n: int) -> int:
        """Members in a quantile: at least one of two, never more than half."""
        return min(math.ceil(n * self.quantile_fraction - 1e-9), n // 2)
