"""RuleScheduler: the adapter between a pure rule and Ray Tune. It decides nothing by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import ray
from ray.tune.experiment import Trial
from ray.tune.result import SHOULD_CHECKPOINT, TRAINING_ITERATION
from ray.tune.schedulers import TrialScheduler

from schedulers.outcome import FAILURES, OUTCOME_CODES, OUTCOMES, outcome_of
from schedulers.reason import ReasonCode
from schedulers.rule import Continue, Decision, Exploit, Pause, Rule, Stop
from schedulers.stop_audit import with_audit
from schedulers.tune import ray_private
from schedulers.tune.exploits import PendingExploits
from schedulers.tune.hooks import AdapterHooks
from schedulers.tune.lane_manager import LaneProcesses
from schedulers.tune.listener import Listener
from schedulers.tune.oom_retry import OOMRetries
from schedulers.tune.pause_guard import PauseGuard
from schedulers.tune.results import Mode, Results
from schedulers.tune.slots import DeferredDecisions, how_many_fit
from schedulers.tune.train_ahead import TrainAhead, is_followed

LOST = "it raised an error or its worker was lost"
NO_MEMORY = "its process was killed because memory ran out"
IDLE_S = 10.0  # if nothing has run or been pending for so long, no new trial will come


class RuleScheduler(TrialScheduler):  # type: ignore[misc]  # Ray ships no types
    """A Ray Tune scheduler that carries out the decisions of a rule.

    Args:
        rule: decides. Public, so that a journal can be folded into it before the run.
        metric: key of the result that the rule judges; may come from `TuneConfig` instead.
        mode: `min` or `max`; `Results` flips the sign.
        time_attr: key of the result that counts epochs.
        slots: trials that can run at once; None: what the cluster's resources allow. If given, early
            stops are also held back until every slot has its own process.
        listener: is notified of all that happens.
        audit_fraction: probability, in [0, 1], that a trial which the rule stops runs to its end instead.
        audit_seed: seed of that draw; the rule's own seed if None.

    Attributes:
        rule_class: the rule of a subclass that builds its own; a service reads its settings from it.

    Raises:
        ValueError: if mode is unknown, or audit_fraction is not within [0, 1].
    """

    rule_class: ClassVar[type[Rule] | None] = None

    def __init__(
        self,
        rule: Rule,
        *,
        metric: str | None = None,
        mode: Mode | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
    ) -> None:
        super().__init__()
        self.results = Results(metric, mode, time_attr)
        self.rule = with_audit(rule, audit_fraction, audit_seed)
        self._name_metric()
        self.slots = slots
        self.service = AdapterHooks(listener or Listener())
        self.retries = OOMRetries()
        self._exploits = PendingExploits(self.rule, self.service, time_attr)
        self._deferred, self._pauses = DeferredDecisions(), PauseGuard(self.rule)
        self._actors: ray_private.IdleActors | LaneProcesses = ray_private.IdleActors()
        self._ahead = TrainAhead(self.rule, self.service)
        self._idle_since: float | None = None
        self._ended: set[str] = set()  # trials whose end was announced
        self._lost: dict[str, bool] = {}  # trial that is not to be run again -> whether it awaits an exploit

    def attach(self, *, slots: int | None = None, **hooks: Any) -> None:
        """Connect the adapter to the service that runs it, see `AdapterHooks`; what is not given stays."""
        self.slots = slots or self.slots
        self.service.connect(hooks)
        if self.service.lanes is not None:
            self._actors = LaneProcesses(self.service.lanes)

    @property
    def _slots_to_fill(self) -> int | None:
        """Slots that each get a process of their own; None if the adapter does not manage processes."""
        return self.slots if self.service.lanes is None else None

    @property
    def metric(self) -> str | None:
        """Key of the metric, which Ray reads."""
        return self.results.metric

    # Called by Ray

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take metric and mode from `TuneConfig`; False if either was given here as well.

        Raises:
            ValueError: if mode is given neither here nor there.
        """
        if not self.results.complete(metric, mode):
            return False
        if self.results.mode is None:
            raise ValueError(f"{type(self).__name__}: mode is missing; give mode='min' or mode='max'")
        self._name_metric()
        return True

    def _name_metric(self) -> None:
        """Let the rule's reasons name the user's metric."""
        if self.results.metric is not None:
            self.rule.speak_of(self.results.metric, maximised=self.results.mode == "max")

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Prepare the controller; the rule learns of a trial at its first report."""
        ray_private.survive_dead_idle_processes(tune_controller)
        if self.service.lanes is not None:
            ray_private.use_lanes(tune_controller, self.service.lanes)
        if self.service.ahead_s > 0:
            ray_private.train_ahead(tune_controller, self._ahead.limits)
        awaits_exploit = self._lost.pop(trial.trial_id, None)
        if awaits_exploit or trial.trial_id in self.retries.waiting:  # its worker was lost
            tune_controller._set_trial_status(trial, Trial.PAUSED)
        elif awaits_exploit is False:
            tune_controller.stop_trial(trial)
        elif self.slots is not None:
            self._actors.keep(tune_controller, trial, self.slots)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Judge a result, answer with Ray's constant, and note the epoch from which the trial goes on."""
        if self.service.ahead_s > 0:
            ray_private.drop_queued_decision(tune_controller, trial)
        answer = self._respond(tune_controller, trial, result)
        if answer == self.CONTINUE and self.results.time_attr in result:
            self._ahead.note_trained(trial.trial_id, self.results.resource(result))
        else:
            self._ahead.forget(trial.trial_id)
        return answer

    def _respond(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Judge a result, notify the listener, and return Ray's constant for what follows."""
        name, listener = trial.trial_id, self.service.listener
        self._deferred.note_process(result)
        if outcome_of(result) is None and (reason := self.service.objection(result)):
            result = {**result, "outcome": "infeasible", "reason": reason}
        if outcome_of(result) is None and (error := self.results.without_metric(result)):
            result = {**result, "outcome": "failed", "reason": error, "error": error}
        if outcome_of(result) == "oom" and self._queue_retry(trial, result["reason"], result["error"]):
            tune_controller.pause_trial(trial, should_checkpoint=False)
            trial.update_resources(dict(self.retries.waiting[name]))
            return str(self.NOOP)
        if self.results.time_attr in result:
            self._pauses.note_report(name, self.results.resource(result))
        decision = self._judge(trial, result)
        if not self.service.repeats:
            decision = self._pauses.decide(trial, result, decision)
        pauses = decision.milestone if isinstance(decision, Continue) else not isinstance(decision, Stop)
        if pauses and not self._actors.outlive:
            self._actors.keep_to_the_end(tune_controller, trial, self._slot_count({name: trial}))
        listener.reported(name, result, decision)
        if isinstance(decision, Stop):
            ending = outcome_of(result) or decision.ending
            self._announce_end(name, ending, decision.reason, str(result.get("error") or ""), decision.code)
        elif isinstance(decision, Pause):
            listener.paused(name, self.results.resource(result), decision.reason, decision.code)
        elif isinstance(decision, Exploit):
            self._exploits.add(name, decision)
        elif is_followed(result):
            return str(self.CONTINUE)  # it trained on already: a pause or a save waits for the last result
        elif self.service.halting():
            reason = "the run was asked to stop"
            listener.paused(name, self.results.resource(result), reason, ReasonCode.STOP_REQUESTED)
            return str(self.PAUSE)
        elif decision.milestone:
            return self._at_milestone(tune_controller, trial, result)
        return self._answer(tune_controller, trial, decision)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> None:
        """Record a trial that ended by `done` or `stop=`, with its last result."""
        if trial.trial_id in self.rule.endings:
            return
        if self.results.time_attr in result:
            self.rule.report(self.results.report(self.rule, trial, result))
        self.rule.end(trial.trial_id, "completed")
        self._announce_end(trial.trial_id, "completed", "the trial ended by itself", "", ReasonCode.TRIAL)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Record a failed trial; it has not ended if Ray recovers it (ERROR for a moment, :1403, :1426)."""
        name = trial.trial_id
        self._deferred.forget(name)
        self._ahead.forget(name)
        self._exploits.forget(name)  # run again, its report gets the same decision again
        error = ray_private.last_error(trial)
        starved = self.retries.starved() or ray_private.out_of_memory(error)
        ending, code = ("oom", ReasonCode.OUT_OF_MEMORY) if starved else ("failed", ReasonCode.WORKER_LOST)
        if trial.status != Trial.ERROR:
            self.rule.end(name, "failed")
            self._announce_end(name, ending, NO_MEMORY if starved else LOST, error, code)
        elif starved and self._queue_retry(trial, NO_MEMORY, error):
            trial.update_resources(dict(self.retries.waiting[name]))
        elif not ray_private.terminated(error) and (reason := self.service.lost_for_good(name)):
            self._lost[name] = self._offer_exploit(name, ending, reason, error, code) is not None
            if not self._lost[name]:
                self.rule.end(name, "failed")
                self._announce_end(name, ending, reason, error, code)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Record a trial that Ray ended while it was paused or pending."""
        if trial.trial_id not in self.rule.endings:
            self.rule.end(trial.trial_id, "stopped")
            reason = "ended from outside while it waited"
            self._announce_end(trial.trial_id, "stopped", reason, "", ReasonCode.EXTERNAL)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Carry out deferred decisions; return the next trial: exploits first, then paused, then new."""
        live = _live(tune_controller)
        self._follow_slots(tune_controller)
        self._deferred.release(tune_controller, self._slots_to_fill, live)
        if self.service.halting():
            return None
        while (name := self.rule.next_unresumable(self._paused(live))) is not None:
            self._end_paused(tune_controller, live[name])
        if self.slots == 0:
            return None  # others use all slots: end no paused trial, it will be resumed
        # A new trial that waits for its slot does not count: trials that have begun go first.
        busy = sum(
            trial.status == Trial.RUNNING
            or (trial.status == Trial.PENDING and name in self.rule.last_resource)
            for name, trial in live.items()
        )
        if any(trial.status == Trial.PAUSED for trial in live.values()) and busy < self._slot_count(live):
            chosen = self._exploits.next(tune_controller, live) or self._next_paused(tune_controller, live)
            if chosen is None and not busy:
                chosen = self._exploits.next(tune_controller, live, idle=True)
            if chosen is not None:
                return chosen
        self._begin_retries(tune_controller, live)
        self._end_all_paused(tune_controller, live)
        # Ray starts pending trials by itself (:876), but takes them from a set: return the first.
        return next((trial for trial in live.values() if trial.status == Trial.PENDING), None)

    def debug_string(self) -> str:
        """One line for Ray's progress table."""
        reported, ended = len(self.rule.last_resource), len(self.rule.endings)
        return f"{type(self.rule).__name__}: {reported} reported, {ended} ended"

    # One result

    def _judge(self, trial: Trial, result: Mapping[str, Any]) -> Decision:
        """The rule's decision, unless the trial itself has decided by an outcome."""
        outcome = outcome_of(result)
        if outcome in (None, "completed", "diverged"):
            decision = self.rule.report(self.results.report(self.rule, trial, result))
            if outcome is None or (outcome == "diverged" and isinstance(decision, Pause | Exploit)):
                return decision
        reason = str(result.get("reason") or outcome)
        if outcome in FAILURES:
            error = str(result.get("error") or "")
            exploit = self._offer_exploit(trial.trial_id, outcome, reason, error, OUTCOME_CODES[outcome])
            if exploit is not None:
                return exploit
        self.rule.end(trial.trial_id, outcome)
        return Stop(reason, OUTCOMES[outcome], code=OUTCOME_CODES[outcome])

    def _offer_exploit(
        self, name: str, ending: str, reason: str, error: str, code: ReasonCode
    ) -> Pause | Exploit | None:
        """The rule's decision to let a failed trial go on as another's copy, which is announced, or None."""
        decision = self.rule.failed(name, reason)
        if decision is not None:
            self.service.listener.failed_awaiting_exploit(name, ending, reason, error, code)
        return decision

    def _answer(self, controller: Any, trial: Trial, decision: Decision) -> str:
        """Ray's constant for a decision. An exploit begins with a pause that saves nothing."""
        if isinstance(decision, Continue):
            return str(self.CONTINUE)
        if self._deferred.hold(trial.trial_id, decision, self._slots_to_fill, _live(controller)):
            return str(self.NOOP)
        if isinstance(decision, Stop):
            return str(self.STOP)
        if isinstance(decision, Pause) and decision.save:
            return str(self.PAUSE)
        controller.pause_trial(trial, should_checkpoint=False)
        return str(self.NOOP)

    def _at_milestone(self, controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Save a checkpoint; or give way if no slot is free and a trial waits that should run first."""
        if not (self.service.repeats or ray_private.can_go_on(trial, result)):
            return str(self.CONTINUE)  # there is nothing to save, and giving way would lose its work
        live, name = _live(controller), trial.trial_id
        statuses = [other.status for other in live.values()]
        if statuses.count(Trial.RUNNING) >= self._slot_count(live):
            resume = self.rule.resume([*self._paused(live), name])
            other_first = resume is not None and resume.trial_id != name
            if other_first or Trial.PENDING in statuses or self._more_trials(controller):
                reason = "gave way to a trial that waits"
                epoch = self.results.resource(result)
                self.service.listener.paused(name, epoch, reason, ReasonCode.GAVE_WAY)
                return str(self.PAUSE)
        if not result.get(SHOULD_CHECKPOINT):  # else Ray saves anyway (:1604)
            ray_private.save_checkpoint(controller, trial, result)
        return str(self.CONTINUE)

    def _announce_end(self, trial_id: str, ending: str, reason: str, error: str, code: ReasonCode) -> None:
        if trial_id not in self._ended:
            self._ended.add(trial_id)
            self.service.listener.ended(trial_id, ending, reason, error, code)

    # The next trial

    def _slot_count(self, live: Mapping[str, Trial]) -> int:
        """The slots given, or how often the first trial's request fits into the cluster."""
        if self.slots is not None:
            return self.slots
        if not live:
            return 1
        wanted = next(iter(live.values())).placement_group_factory.required_resources
        return how_many_fit(wanted, ray.cluster_resources())

    def _follow_slots(self, controller: Any) -> None:
        """Adopt the current number of slots."""
        slots = self.service.slots_now()
        if slots is not None and slots != self.slots:
            self.slots = slots
            ray_private.limit_pending(controller, max(slots, 1))
            self._actors.resize(controller, slots)

    def _more_trials(self, controller: Any) -> bool:
        if self.service.more_trials is not None:
            return self.service.more_trials()
        return not controller.search_alg.is_finished()

    def _paused(self, live: Mapping[str, Trial]) -> list[str]:
        """Trials that the rule may resume: paused ones without a pending exploit or retry."""
        reserved = {*self._exploits, *self.retries.waiting}
        return [name for name, t in live.items() if t.status == Trial.PAUSED and name not in reserved]

    def _next_paused(self, controller: Any, live: Mapping[str, Trial]) -> Trial | None:
        while (resume := self.rule.resume(self._paused(live))) is not None:
            trial = live[resume.trial_id]
            if resume.exploit is None:
                self.rule.resumed(resume)
                self.service.listener.resumed(resume)
                return trial
            self._exploits.add(resume.trial_id, resume.exploit)
            if self._exploits.apply(controller, trial):
                return trial
        return None

    def _queue_retry(self, trial: Trial, reason: str, error: str) -> bool:
        """Queue a trial that ran out of memory for a second run; False if it may not have one."""
        share = self.retries.grant(trial.trial_id)
        if share is not None:
            self.service.listener.retried(trial.trial_id, share, reason, error)
        return share is not None

    def _begin_retries(self, controller: Any, live: Mapping[str, Trial]) -> None:
        """Start second runs once nothing else runs, and end idle processes that are in their way."""
        begun = [t for name, t in live.items() if name in self.retries.begun and t.status == Trial.PENDING]
        if not any(trial.status in (Trial.RUNNING, Trial.PENDING) for trial in live.values()):
            begun += [live[name] for name in list(self.retries.waiting) if name in live]
            for trial in begun:
                self.retries.begin(trial.trial_id)
                controller._set_trial_status(trial, Trial.PENDING)
        if begun:
            self._actors.let_go(controller)

    def _end_all_paused(self, controller: Any, live: Mapping[str, Trial]) -> None:
        """End all paused trials if none can be resumed any more; else the experiment would never end."""
        paused = self._paused(live)
        if len(paused) < len(live) or not paused:
            self._idle_since = None
            return
        self._idle_since = self._idle_since or time.monotonic()
        if self._more_trials(controller) and time.monotonic() - self._idle_since < IDLE_S:
            return
        self.rule.no_more_trials([trial.trial_id for trial in controller.get_trials()])
        if self.rule.resume(paused) is not None:
            return
        for name in paused:
            self._end_paused(controller, live[name])

    def _end_paused(self, controller: Any, trial: Trial) -> None:
        decision = self.rule.last_decision(trial.trial_id)
        self.rule.end(trial.trial_id, decision.ending)
        self._announce_end(trial.trial_id, decision.ending, decision.reason, "", decision.code)
        controller.stop_trial(trial)


def _live(controller: Any) -> dict[str, Trial]:
    """Unfinished trials in order of their ids. Ray keeps them in a set, failed ones included."""
    live = (trial for trial in controller.get_live_trials() if not trial.is_finished())
    return {trial.trial_id: trial for trial in sorted(live, key=lambda trial: str(trial.trial_id))}
