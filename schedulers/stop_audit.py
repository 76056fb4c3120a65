"""Audit of a rule: a random few of the trials it would stop run to their end instead.

How a stopped trial would have ended is unknown, so a sweep cannot tell what its trial scheduler cost.
A few percent that run on show how often the rule was wrong, and by how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from schedulers.errors import InvalidSetting
from schedulers.reason import ReasonCode
from schedulers.rng import generator
from schedulers.rule import Continue, Decision, Exploit, Pause, Report, Resume, Rule, Stop

AUDIT_SETTINGS = ("audit_fraction", "audit_seed")
"""Arguments of every scheduler class besides those of its rule."""

AUDIT_MOMENT = 0x61756469  # "audi": no epoch, so that it shares no generator with a draw of the rule


class SparedStop(NamedTuple):
    """A stop that was not carried out: its epoch and reason."""

    epoch: int
    reason: str


class AuditedRule(Rule):
    """Wraps a rule, and does not carry out a random share of its stops.

    A drawn trial that the rule stops, or leaves paused for ever, runs to R. For the rule it has ended:
    what the trial reports from then on never reaches the rule, so all other trials are decided on as
    without the audit. A non-finite loss ends an audited trial too. Trials that end as completed or
    diverged are not audited.

    A trial is paused for ever if the rule names it as unresumable, or if no new trial will come, all
    others have ended or are paused too, and the rule resumes none; then its audit begins. An audited
    trial that has to give its slot back is resumed after the rule's own trials.

    Args:
        rule: a fresh rule.
        audit_fraction: probability that a stop is audited, in [0, 1].
        audit_seed: seed of the draws; a trial's draw depends on (audit_seed, trial) alone.

    Raises:
        ValueError: if audit_fraction is not within [0, 1].

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
        self.all_trials: list[str] = []  # of the sweep; empty until no_more_trials
        self._draws: dict[str, bool] = {}

    def memory(self) -> tuple[str, ...]:
        """Also the audited trials."""
        return (*super().memory(), "audited", "all_trials")

    def state(self) -> dict[str, Any]:
        """The audit's state, and the rule's under `rule`."""
        return {**super().state(), "rule": self.rule.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the states of the audit and of the rule."""
        self.rule.load(state["rule"])
        super().load({name: value for name, value in state.items() if name != "rule"})
        self.audited = {trial: SparedStop(*stop) for trial, stop in self.audited.items()}

    def report(self, report: Report) -> Decision:
        """The rule's decision, or to run on if it is a stop to be audited; an audited trial runs to R."""
        trial = report.trial_id
        if trial not in self.audited:
            decision = self.rule.report(report)
            if not self._is_to_be_audited(report, decision):
                self._copy_progress(trial)
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
        """The rule's answer; R for an audited trial."""
        if trial_id not in self.audited:
            return self.rule.next_decision(trial_id, resource)
        return super().next_decision(trial_id, resource)

    def next_judged(self, trial_id: str, resource: int) -> int:
        """R: nothing is decided about an audited trial before."""
        return self.max_resource

    def failed(self, trial_id: str, reason: str) -> Pause | Exploit | None:
        """The rule's answer; None for an audited trial, which copies no other."""
        return None if trial_id in self.audited else self.rule.failed(trial_id, reason)

    def judge(self, report: Report) -> Decision:
        """Let an audited trial go on; its first report gets the reason for which it would have stopped."""
        epoch, reason = self.audited[report.trial_id]
        return Continue(reason, code=ReasonCode.AUDITED) if report.resource == epoch else Continue()

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """The rule's choice; else an audited trial that gave way; else a drawn one paused for ever."""
        unaudited = [trial for trial in paused if trial not in self.audited]
        resume = self.rule.resume(unaudited)
        if resume is None and len(unaudited) < len(paused):
            return super().resume([trial for trial in paused if trial in self.audited])
        return resume or self._paused_for_ever(unaudited)

    def next_unresumable(self, paused: Sequence[str]) -> str | None:
        """The rule's answer, without the trials that an audit will let run on."""
        undrawn = [t for t in paused if t not in self.audited and not self._is_drawn(t)]
        return self.rule.next_unresumable(undrawn)

    def resumed(self, resume: Resume) -> None:
        """Note that the trial goes on, by the rule's decision or because its audit begins."""
        trial = resume.trial_id
        if trial in self.audited:
            return
        if resume.code is ReasonCode.AUDITED:
            self.rule.end(trial, "stopped")
            self.audited[trial] = SparedStop(self.last_resource[trial], resume.reason)
        else:
            self.rule.resumed(resume)
            self._copy_progress(trial)

    def no_more_trials(self, trial_ids: Sequence[str]) -> None:
        """Note the trials, and pass the call on to the rule."""
        self.all_trials = list(trial_ids)
        self.rule.no_more_trials(trial_ids)

    def speak_of(self, metric: str, *, maximised: bool = False) -> None:
        """Let reasons of the audit and of the rule name the user's metric."""
        super().speak_of(metric, maximised=maximised)
        self.rule.speak_of(metric, maximised=maximised)

    def cannot_pause(self) -> None:
        """Pass the call on to the rule."""
        self.rule.cannot_pause()

    def end(self, trial_id: str, ending: str) -> None:
        """Record the end, also in the rule unless the trial is audited: there it has ended before."""
        if trial_id not in self.audited:
            self.rule.end(trial_id, ending)
        super().end(trial_id, ending)

    def extension_obstacle(self, *, epochs: bool, trials: bool) -> str:
        """The rule's answer; but epochs cannot be added, for audited trials ran to R only."""
        if epochs:
            return "audited trials ran to R and no further; use audit_fraction in a new study instead"
        return self.rule.extension_obstacle(epochs=epochs, trials=trials)

    def is_exploit_source(self, resource: int) -> bool:
        """The rule's answer: audited trials copy no other."""
        return self.rule.is_exploit_source(resource)

    def last_word(self, trial_id: str) -> str:
        """The rule's answer, unless the trial is audited."""
        return super().last_word(trial_id) if trial_id in self.audited else self.rule.last_word(trial_id)

    def last_decision(self, trial_id: str) -> Stop:
        """The rule's answer, unless the trial is audited."""
        is_audited = trial_id in self.audited
        return super().last_decision(trial_id) if is_audited else self.rule.last_decision(trial_id)

    def _is_to_be_audited(self, report: Report, decision: Decision) -> bool:
        """Whether the decision is the rule's first stop of a drawn trial, before R."""
        stopped = isinstance(decision, Stop) and decision.ending == "stopped"
        first = report.trial_id not in self.endings and report.resource < self.max_resource
        return stopped and first and self._is_drawn(report.trial_id)

    def _paused_for_ever(self, paused: Sequence[str]) -> Resume | None:
        """Resume a drawn trial that the rule leaves paused for ever."""
        drawn = [trial for trial in paused if self._is_drawn(trial) and trial in self.last_resource]
        idle = set(paused)
        if not self.all_trials or any(t not in idle and t not in self.rule.endings for t in self.all_trials):
            unresumable = self.rule.next_unresumable(drawn)
            drawn = [] if unresumable is None else [unresumable]
        for trial in drawn:
            last = self.rule.last_decision(trial)
            if last.ending == "stopped":
                return Resume(trial, last.reason, code=ReasonCode.AUDITED)
        return None

    def _is_drawn(self, trial_id: str) -> bool:
        if trial_id not in self._draws:
            draw = float(generator(self.audit_seed, trial_id, AUDIT_MOMENT).random())
            self._draws[trial_id] = draw < self.audit_fraction
        return self._draws[trial_id]

    def _copy_progress(self, trial_id: str) -> None:
        """Copy the trial's resource and ending from the rule."""
        if trial_id in self.rule.last_resource:
            self.last_resource[trial_id] = self.rule.last_resource[trial_id]
        if trial_id in self.rule.endings:
            self.endings[trial_id] = self.rule.endings[trial_id]


def with_audit(rule: Rule, fraction: float, seed: int | None = None) -> Rule:
    """The rule itself if `fraction` is 0, else an audited one; without `seed` the rule's own is used."""
    if fraction == 0:
        return rule
    audit_seed = getattr(rule, "seed", 0) if seed is None else seed
    return AuditedRule(rule, audit_fraction=fraction, audit_seed=audit_seed)
