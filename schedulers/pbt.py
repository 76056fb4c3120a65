"""PBT, population based training: exploit by copying, explore within the declared bounds.

Jaderberg et al.: "Population Based Training of Neural Networks", 2017, arXiv:1711.09846.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from schedulers.errors import InvalidSetting, require_at_least
from schedulers.rng import generator
from schedulers.rule import Continue, Decision, Ending, Exploit, Objective, Pause, Report, Resume, Rule, Stop
from schedulers.space import FACTORS, Domain


class Member(NamedTuple):
    """A member of the population at a milestone.

    Attributes:
        loss: its loss; None if it diverged or failed.
        trial: its trial.
        config: its flat configuration; empty if it has no weights to copy.
        copyable: whether its checkpoint of this milestone may be copied.
    """

    loss: float | None
    trial: str
    config: Mapping[str, Any]
    copyable: bool

    @property
    def rank_key(self) -> float:
        """The loss to rank by: lost members come last."""
        return math.inf if self.loss is None else self.loss


class ExploitPlan(NamedTuple):
    """An `Exploit` that a member has yet to carry out, and the loss of its donor."""

    donor: str
    resource: int
    config: Mapping[str, Any]
    reason: str
    donor_loss: float

    def decision(self) -> Exploit:
        """The decision, with a copy of the configuration."""
        return Exploit(self.donor, self.resource, dict(self.config), self.reason)


_rank_key = attrgetter("rank_key")


class PBTRule(Rule):
    """At every milestone the worst quantile copies the best quantile and perturbs the copied configuration.

    A milestone is a multiple of `perturbation_interval` below R. Losses are compared at equal
    resource only, and a loser at resource r goes on from the donor's checkpoint at r: no member's
    epoch ever goes back. (Ray's PBT ranks scores of different ages.)

    `synchronous` (the default): each member pauses at a milestone; when all members that can still
    reach it have done so, all are ranked at once. Members take turns on the slots, so a population
    larger than the number of slots costs nothing extra, every ranking is of the whole population, and
    the outcome does not depend on which worker was faster. The price is idle slots while the slowest
    member finishes its interval, if slots >= population. Members that failed, ended, diverged or do not
    report at a milestone are not waited for; waiting members are paused, so none can block another.

    `synchronous=False`: a member is ranked on arrival among those that arrived before it, once
    they are half the population with it (2 at least): fewer would be a ranking by accident. No member
    waits, but early ones escape a comparison that later ones face.

    A member that diverges or fails is replaced first: it waits for the next milestone, ranked worst
    there (asynchronously: until one sound member has arrived), and goes on from a donor's checkpoint.
    Past the last milestone it stops. So does a member that fails before the first epoch since it was
    replaced: the copy did not fix it.

    Each draw has a generator of its own, from (seed, trial, resource).

    Args:
        max_resource: R, epochs of a whole trial.
        perturbation_interval: epochs between milestones.
        space: flat key -> domain of each searched parameter.
        population_size: members in all, whether started yet or not.
        quantile_fraction: share of the population that copies, and that is copied; up to 0.5.
        resample_probability: probability that a parameter is drawn anew instead of perturbed.
        perturbation_factors: multipliers of a perturbed number; choices move to a neighbour.
        seed: of all draws.
        synchronous: see above.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: for settings under which no member could ever copy another.
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
        require_at_least(1, perturbation_interval=perturbation_interval)
        if population_size < 2:
            raise InvalidSetting(
                "population_size",
                f"population_size ({population_size}) must be at least 2: a member cannot copy itself",
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
        self.scores: dict[str, list[Member]] = {}  # open milestone -> members that arrived, best first
        self.skip_counts: dict[str, int] = {}  # open milestone -> members that passed it without a report
        self.position: dict[str, int] = {}  # trial -> its resource, or the milestone a lost one waits for
        self.wait_epochs: dict[str, int] = {}  # trial -> the milestone at which it waits
        self.exploit_plans: dict[str, ExploitPlan] = {}  # trial -> the exploit it has yet to carry out
        self.lost: dict[str, str] = {}  # diverged or failed trial -> the cause
        self.failures: dict[str, int] = {}  # failed trial -> the milestone at which it was, or is, replaced
        self.ended_at: list[int] = []  # positions of ended trials, ascending

    def memory(self) -> tuple[str, ...]:
        """Also the open milestones, and what each member waits for."""
        return (
            *super().memory(),
            *("population", "scores", "skip_counts", "position", "wait_epochs", "exploit_plans"),
            *("lost", "failures", "ended_at"),
        )

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore `state`, in which JSON may have turned the named tuples into lists."""
        super().load(state)
        self.scores = {at: [Member(*each) for each in members] for at, members in self.scores.items()}
        self.exploit_plans = {trial: ExploitPlan(*planned) for trial, planned in self.exploit_plans.items()}

    def judge(self, report: Report) -> Decision:
        """Rank at a milestone; continue between milestones."""
        trial, resource = report.trial_id, report.resource
        self._advance(trial, resource)
        if not self._is_milestone(resource):
            return Continue()
        member = Member(report.loss, trial, dict(report.config), copyable=True)
        insort(self.scores.setdefault(str(resource), []), member, key=_rank_key)
        return self._wait(trial, resource) if self.synchronous else self._rank_now(member, resource)

    def next_judged(self, trial_id: str, resource: int) -> int:
        """The next milestone; or the first report, for `resume` depends on whether all members have begun."""
        return self._next_milestone(resource + 1) if trial_id in self.position else resource + 1

    def diverged(self, report: Report) -> Decision:
        """Pause the trial until the next milestone, where it is replaced."""
        milestone = self._next_milestone(report.resource)
        if milestone >= self.max_resource:
            return super().diverged(report)
        self.failures.pop(report.trial_id, None)
        return self._await_donor(
            report.trial_id,
            milestone,
            f"{self.metric} is {self.format_value(report.loss)} at epoch {report.resource}",
        )

    def failed(self, trial_id: str, reason: str) -> Pause | Exploit | None:
        """Replace the trial at the next milestone; but let one end that failed again at once."""
        epoch = self.last_resource.get(trial_id, 0)
        milestone = self._next_milestone(epoch + 1)
        failed_again = epoch <= self.failures.get(trial_id, -1)
        if trial_id in self.endings or milestone >= self.max_resource or failed_again:
            return None
        self.failures[trial_id] = milestone
        decision = self._await_donor(trial_id, milestone, f"failed in epoch {epoch + 1}: {reason}")
        return decision if isinstance(decision, Pause | Exploit) else None

    def _next_milestone(self, resource: int) -> int:
        return -(-resource // self.perturbation_interval) * self.perturbation_interval

    def _await_donor(self, trial: str, milestone: int, cause: str) -> Decision:
        """Enter a lost member at a milestone, where it gets a donor's weights."""
        self._advance(trial, milestone)
        self.lost[trial] = cause
        lost = Member(None, trial, {}, copyable=False)
        insort(self.scores.setdefault(str(milestone), []), lost, key=_rank_key)
        if self.synchronous:
            return self._wait(trial, milestone)
        self.wait_epochs[trial] = milestone
        self._rescue(milestone)
        if trial in self.exploit_plans:
            return self.exploit_plans[trial].decision()
        return Pause(f"{cause}; waits for a donor at epoch {milestone}", save=False)

    def on_duplicate_report(self, report: Report) -> Decision:
        """A trial paused at this epoch is paused again; a milestone is saved again."""
        trial = report.trial_id
        if trial in self.endings:
            return super().on_duplicate_report(report)
        if report.resource == self.last_resource[trial] and trial in self.exploit_plans:
            return self.exploit_plans[trial].decision()
        if report.resource == self.last_resource[trial] and trial in self.wait_epochs:
            return Pause(f"waits at epoch {self.wait_epochs[trial]}", save=trial not in self.lost)
        return Continue("already reported", milestone=self._is_milestone(report.resource))

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """Resume the least trained member that waits for no other.

        Without `synchronous`, members that gave way are resumed only when all members have begun: else
        the first would train to their end, and be compared with no other.
        """
        ready = [trial for trial in paused if trial in self.exploit_plans or trial not in self.wait_epochs]
        if not self.synchronous and len(self.position) < self.population:
            ready = [trial for trial in ready if trial in self.exploit_plans]
        if not ready:
            return None
        trial = min(ready, key=lambda name: self.position.get(name, 0))
        if trial not in self.exploit_plans:
            return Resume(trial, "its turn again")
        exploit = self.exploit_plans[trial].decision()
        return Resume(trial, exploit.reason, exploit)

    def resumed(self, resume: Resume) -> None:
        """Note that the member goes on; a planned exploit is carried out."""
        trial = resume.trial_id
        planned = self.exploit_plans.pop(trial, None)
        self.wait_epochs.pop(trial, None)
        if planned is not None and resume.exploit is not None:
            self.lost.pop(trial, None)
            self.last_resource[trial] = planned.resource
            # Under objective `best` the copy has its donor's best loss, not its own from before.
            self.objective_loss[trial] = planned.donor_loss

    def no_more_trials(self, trial_ids: Sequence[str]) -> None:
        """Wait no longer for members that will never start."""
        self.population = min(self.population, len({*trial_ids, *self.position}))
        self._close_milestones()

    def end(self, trial_id: str, ending: str) -> None:
        """Record the end; the trial is neither waited for nor copied any longer."""
        if trial_id in self.endings:
            return
        super().end(trial_id, ending)
        insort(self.ended_at, self.position.setdefault(trial_id, 0))
        self.wait_epochs.pop(trial_id, None)
        self.exploit_plans.pop(trial_id, None)
        self._close_milestones()

    def extension_obstacle(self, *, epochs: bool, trials: bool) -> str:
        """Trials cannot be added: the population has a fixed size. More epochs are more milestones."""
        if trials:
            return "the population has a fixed size: a new member would be younger than all others"
        return ""

    def last_word(self, trial_id: str) -> str:
        """The cause if the member was lost and no donor was left."""
        if trial_id in self.lost:
            return f"{self.lost[trial_id]}; no donor was left to copy"
        return super().last_word(trial_id)

    def last_decision(self, trial_id: str) -> Stop:
        """A diverged member ends as diverged, a failed one as failed."""
        ending: Ending = "stopped"
        if trial_id in self.lost:
            ending = "failed" if trial_id in self.failures else "diverged"
        return Stop(self.last_word(trial_id), ending)

    def is_exploit_source(self, resource: int) -> bool:
        """Whether `resource` is a milestone that a live member has not left behind."""
        if not self._is_milestone(resource):
            return False
        return len(self.position) < self.population or any(
            position <= resource for trial, position in self.position.items() if trial not in self.endings
        )

    def explore(self, config: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The donor's configuration, with each searched parameter perturbed within bounds or drawn anew."""
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
        """Move the trial's position, and count the milestones that it skips."""
        every = self.perturbation_interval
        before, self.position[trial] = self.position.get(trial, 0), resource
        passed = range((before // every + 1) * every, min(resource, self.max_resource), every)
        for milestone in passed:
            self.skip_counts[str(milestone)] = self.skip_counts.get(str(milestone), 0) + 1
        if passed:
            self._close_milestones()

    def _wait(self, trial: str, milestone: int) -> Decision:
        """Pause the member until all have arrived; the last to arrive goes on at once."""
        self.wait_epochs[trial] = milestone
        self._close_milestones()
        if trial in self.exploit_plans:
            return self.exploit_plans[trial].decision()
        if trial not in self.wait_epochs:
            return Continue(f"the population is complete at epoch {milestone}", milestone=True)
        if str(milestone) not in self.scores:
            return self.last_decision(trial)  # all have arrived, and none of them is sound
        reason = (
            f"waits at epoch {milestone}: {len(self.scores[str(milestone)])} of {self.population} are there"
        )
        return Pause(f"{self.lost[trial]}; {reason}", save=False) if trial in self.lost else Pause(reason)

    def _close_milestones(self) -> None:
        """Close each milestone that every member has reached, skipped or ended before."""
        for milestone in sorted(map(int, self.scores)):
            accounted = len(self.scores[str(milestone)]) + self.skip_counts.get(str(milestone), 0)
            if accounted + bisect_left(self.ended_at, milestone) < self.population:
                continue
            if self.synchronous:
                self._rank_all(milestone)
            if self.synchronous or milestone not in self.wait_epochs.values():
                del self.scores[str(milestone)]
                self.skip_counts.pop(str(milestone), None)

    def _rank_all(self, milestone: int) -> None:
        """Synchronous: give the worst members donors, and let the others go on."""
        members = [member for member in self.scores[str(milestone)] if member.trial not in self.endings]
        n = len(members)
        k = self._quantile(n)
        donors = [member for member in members if member.loss is not None][:k]
        for rank, member in enumerate(members, start=1):
            if donors and (member.loss is None or rank > n - k):
                self._plan_exploit(member, f"ranks {rank} of {n}", donors, milestone)
            if member.loss is not None:
                self.wait_epochs.pop(member.trial, None)

    def _rank_now(self, newcomer: Member, milestone: int) -> Decision:
        """Asynchronous: rank the newcomer among the members that arrived before it."""
        members = self.scores[str(milestone)]
        n = len(members)
        rank = bisect_right(members, newcomer.rank_key, key=_rank_key)  # of equals the newcomer is last
        k = self._quantile(n)
        loser = n >= max(2, math.ceil(self.population / 2)) and rank > n - k
        donors = self._donors(members[:k]) if loser else []
        if donors:
            # It goes on with its donor's weights from this epoch.
            members[rank - 1] = newcomer._replace(copyable=False)
            self._plan_exploit(newcomer, f"ranks {rank} of {n}", donors, milestone)
        self._rescue(milestone)
        self._close_milestones()
        if newcomer.trial in self.exploit_plans:
            return self.exploit_plans[newcomer.trial].decision()
        verdict = f"{self.describe(newcomer.loss)} ranks {rank} of {n} at epoch {milestone}"
        return Continue(verdict, milestone=True)

    def _rescue(self, milestone: int) -> None:
        """Asynchronous: give the lost members that wait at a milestone a donor, if there is one."""
        plans = self.exploit_plans
        waiting = [t for t, where in self.wait_epochs.items() if where == milestone and t not in plans]
        if not waiting:
            return
        members = self.scores[str(milestone)]
        donors = self._donors(members)[: max(self._quantile(len(members)), 1)]
        for trial in waiting if donors else ():
            self._plan_exploit(Member(None, trial, {}, copyable=False), "", donors, milestone)

    def _donors(self, members: Sequence[Member]) -> list[Member]:
        return [member for member in members if member.copyable and member.trial not in self.endings]

    def _plan_exploit(self, member: Member, rank: str, donors: Sequence[Member], milestone: int) -> None:
        """Draw a donor for the member, and explore its configuration."""
        trial = member.trial
        rng = generator(self.seed, trial, milestone)
        donor = donors[int(rng.integers(len(donors)))]
        assert donor.loss is not None
        cause = (
            self.lost[trial]
            if member.loss is None
            else f"{self.describe(member.loss)} {rank} at epoch {milestone}"
        )
        reason = f"{cause}; copies trial {donor.trial} ({self.describe(donor.loss)} at epoch {milestone})"
        config = self.explore(donor.config, rng)
        self.exploit_plans[trial] = ExploitPlan(donor.trial, milestone, config, reason, donor.loss)

    def _quantile(self, n: int) -> int:
        """Number of members in a quantile: one at least if there are two, at most half of them."""
        return min(math.ceil(n * self.quantile_fraction - 1e-9), n // 2)
