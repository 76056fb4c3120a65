"""An audit of a rule: a seeded few of those it would stop run to their end instead.

What a rule stops, nobody sees the end of; so a sweep cannot tell by itself what its trial scheduler
cost it. A few percent let run on tell it: how often the rule was wrong, and by how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from schedulers.errors import InvalidSetting
from schedulers.reason import ReasonCode
from schedulers.rng import generator
from schedulers.rule import Continue, Decision, Exploit, Pause, Report, Resume, Rule, Stop

AUDIT_WORDS = ("audit_fraction", "audit_seed")
"""What every scheduler class takes besides its rule's own arguments."""

LOT = 0x61756469  # "audi": a moment that is no epoch, so that no other draw of a rule is the same


class SparedStop(NamedTuple):
    """A stop that was not carried out: at which epoch, and for what reason."""

    epoch: int
    reason: str


class AuditedRule(Rule):
    """Another rule, of whose stops a share is not carried out.

    Whom the rule stops, or leaves paused for ever, and whom the lot takes, runs to R. The rule has
    ended it all the same: its record there stays as it was, and what the trial reports from then on
    never reaches the rule, so every other trial is decided on as without the audit. A loss that is not
    finite ends an audited trial too; who ended as completed or diverged is no matter of an audit.

    Who will wait for ever is known when the rule calls it hopeless, or when no new trial will come,
    every other has ended or waits too, and the rule resumes none: that is when the audit of a paused
    trial sets in. One that has to give its slot back meanwhile is resumed after the rule's own.

    Args:
        rule: a fresh rule.
        audit_fraction: chance of a stop to be audited, in [0, 1].
        audit_seed: of the lots; a trial's lot is a function of (audit_seed, trial) alone.

    Raises:
        ValueError: if the fraction is no share.

    >>> from schedulers import ASHARule
    >>> rule = AuditedRule(ASHARule(max_resource=9, reduction_factor=3), audit_fraction=1)
    >>> for trial, loss in (("00000", 0.1), ("00001", 0.2)):
    ...     decision = rule.report(Report(trial, 1, loss))
    ...     print(type(decision).__name__, decision.code, "-", decision.reason)
    Continue rule - rung 1: loss 0.1 ranks 1 of 1, top 1 goes on
    Continue audited - rung 1: loss 0.2 ranks 2 of 2, top 1 goes on
    """

    def __init__(self, rule: Rule, *, audit_fraction: float, audit_seed: int = 0) -> None:
        if not 0 <= audit_fraction <= 1:
            raise InvalidSetting(
                "audit_fraction",
                f"audit_fraction ({audit_fraction}) must lie in [0, 1]",
                "0.05 audits one stop in 20",
            )
        super().__init__(max_resource=rule.max_resource, objective=rule.objective)
        self.rule = rule
        self.parameters, self.replaces = rule.parameters, rule.replaces
        self.audit_fraction = audit_fraction
        self.audit_seed = audit_seed
        self.audited: dict[str, SparedStop] = {}
        self.known: list[str] = []  # all trials there will ever be, once told
        self._lots: dict[str, bool] = {}

    def memory(self) -> tuple[str, ...]:
        """Who is audited; the rule's own memory stands beside it."""
        return (*super().memory(), "audited", "known")

    def state(self) -> dict[str, Any]:
        """The audit's, and the rule's under `rule`."""
        return {**super().state(), "rule": self.rule.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up both."""
        self.rule.load(state["rule"])
        super().load({name: value for name, value in state.items() if name != "rule"})
        self.audited = {trial: SparedStop(*stop) for trial, stop in self.audited.items()}

    def report(self, report: Report) -> Decision:
        """Ask the rule, and let the trial run on if its stop is drawn; who is audited runs to R."""
        trial = report.trial_id
        if trial not in self.audited:
            decision = self.rule.report(report)
            if not self._sets_in(report, decision):
                self._follow(trial)
                return decision
            self.audited[trial] = SparedStop(report.resource, decision.reason)
        decision = super().report(report)
        if isinstance(decision, Stop) and decision.ending == "completed":
            epoch, reason = self.audited[trial]
            decision = Stop(
                f"audit: {decision.reason}; would have been stopped at epoch {epoch}: {reason}", "completed"
            )
        return decision

    def next_decision(self, trial_id: str, resource: int) -> int:
        """The rule's; of an audited trial R, where its audit ends."""
        if trial_id not in self.audited:
            return self.rule.next_decision(trial_id, resource)
        return super().next_decision(trial_id, resource)

    def next_judged(self, trial_id: str, resource: int) -> int:
        """Nothing is decided about an audited trial before R."""
        return self.max_resource

    def failed(self, trial_id: str, reason: str) -> Pause | Exploit | None:
        """The rule's word; audited trials copy nobody."""
        return None if trial_id in self.audited else self.rule.failed(trial_id, reason)

    def judge(self, report: Report) -> Decision:
        """Of an audited trial: say at the first report why it would have been stopped."""
        epoch, reason = self.audited[report.trial_id]
        return Continue(reason, code=ReasonCode.AUDITED) if report.resource == epoch else Continue()

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """Name the rule's own first, then an audited trial that gave way, then one that waits for ever."""
        theirs = [trial for trial in paused if trial not in self.audited]
        resume = self.rule.resume(theirs)
        if resume is None and len(theirs) < len(paused):
            return super().resume([trial for trial in paused if trial in self.audited])
        return resume or self._waits_for_ever(theirs)

    def next_unresumable(self, paused: Sequence[str]) -> str | None:
        """The rule's word, except of those whom an audit will let run on."""
        return self.rule.next_unresumable([t for t in paused if t not in self.audited and not self._drawn(t)])

    def resumed(self, resume: Resume) -> None:
        """It goes on: by the rule's word, or because its audit sets in."""
        trial = resume.trial_id
        if trial in self.audited:
            return
        if resume.code is ReasonCode.AUDITED:
            self.rule.end(trial, "stopped")
            self.audited[trial] = SparedStop(self.last_resource[trial], resume.reason)
        else:
            self.rule.resumed(resume)
            self._follow(trial)

    def no_more_trials(self, known: Sequence[str]) -> None:
        """From now on it can be told who waits for ever."""
        self.known = list(known)
        self.rule.no_more_trials(known)

    def speak_of(self, metric: str, *, maximised: bool = False) -> None:
        """The rule's reasons are the audit's."""
        super().speak_of(metric, maximised=maximised)
        self.rule.speak_of(metric, maximised=maximised)

    def cannot_pause(self) -> None:
        """The rule decides without pauses."""
        self.rule.cannot_pause()

    def end(self, trial_id: str, ending: str) -> None:
        """The rule has ended an audited trial before."""
        if trial_id not in self.audited:
            self.rule.end(trial_id, ending)
        super().end(trial_id, ending)

    def extension_obstacle(self, *, epochs: bool, trials: bool) -> str:
        """As the rule says; an audit is over at R."""
        if epochs:
            return "its audit let trials run to R and no further; audit_fraction belongs to a new study"
        return self.rule.extension_obstacle(epochs=epochs, trials=trials)

    def is_exploit_source(self, resource: int) -> bool:
        """As the rule says: audited trials copy nobody."""
        return self.rule.is_exploit_source(resource)

    def last_word(self, trial_id: str) -> str:
        """The rule's, of a trial that is still its own."""
        return super().last_word(trial_id) if trial_id in self.audited else self.rule.last_word(trial_id)

    def last_decision(self, trial_id: str) -> Stop:
        """The rule's, of a trial that is still its own."""
        audited = trial_id in self.audited
        return super().last_decision(trial_id) if audited else self.rule.last_decision(trial_id)

    def _sets_in(self, report: Report, decision: Decision) -> bool:
        """Whether the rule stops the trial here and now, before R, and the lot takes it."""
        stopped = isinstance(decision, Stop) and decision.ending == "stopped"
        fresh = report.trial_id not in self.endings and report.resource < self.max_resource
        return stopped and fresh and self._drawn(report.trial_id)

    def _waits_for_ever(self, paused: Sequence[str]) -> Resume | None:
        drawn = [trial for trial in paused if self._drawn(trial) and trial in self.last_resource]
        left = set(paused)
        if not self.known or any(t not in left and t not in self.rule.endings for t in self.known):
            hopeless = self.rule.next_unresumable(drawn)
            drawn = [] if hopeless is None else [hopeless]
        for trial in drawn:
            last = self.rule.last_decision(trial)
            if last.ending == "stopped":
                return Resume(trial, last.reason, code=ReasonCode.AUDITED)
        return None

    def _drawn(self, trial_id: str) -> bool:
        if trial_id not in self._lots:
            lot = float(generator(self.audit_seed, trial_id, LOT).random())
            self._lots[trial_id] = lot < self.audit_fraction
        return self._lots[trial_id]

    def _follow(self, trial_id: str) -> None:
        """Keep what is asked of every rule: the trial's resource, and how it ended."""
        if trial_id in self.rule.last_resource:
            self.last_resource[trial_id] = self.rule.last_resource[trial_id]
        if trial_id in self.rule.endings:
            self.endings[trial_id] = self.rule.endings[trial_id]


def audited(rule: Rule, fraction: float, seed: int | None = None) -> Rule:
    """The rule, audited if a fraction is asked for; by the rule's own seed if none is given."""
    if fraction == 0:
        return rule
    chosen = getattr(rule, "seed", 0) if seed is None else seed
    return AuditedRule(rule, audit_fraction=fraction, audit_seed=chosen)
