"""RuleScheduler: the one adapter between a pure rule and Ray Tune, and the faces over it.

It translates and nothing else. A branch on an algorithm's name in here is a defect: what an
algorithm needs, it says through the words of `schedulers.rule`.

Line numbers below are of ray 2.60.0, tune/execution/tune_controller.py.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.tune import Checkpoint
from ray.tune.experiment import Trial
from ray.tune.result import DEFAULT_METRIC, SHOULD_CHECKPOINT, TRAINING_ITERATION
from ray.tune.schedulers import TrialScheduler

from schedulers import RULES, ray_private
from schedulers.audit import audited
from schedulers.listener import LOST, Listener
from schedulers.nested import lookup, overlay
from schedulers.outcome import OUTCOMES, outcome_of
from schedulers.retry import Retries
from schedulers.rule import Continue, Decision, Exploit, Pause, Report, Resume, Rule, Stop
from schedulers.slots import Filling, how_many_fit

logger = logging.getLogger(__name__)

STILL_S = 10.0  # nothing running, nothing pending, nothing coming for so long: nothing will


class RuleScheduler(TrialScheduler):  # type: ignore[misc]  # Ray ships no types
    """A trial scheduler that does what a rule says.

    Args:
        rule: decides; None in a face, which builds its own from `kwargs`. Public, so that a journal
            can be folded into it before the run.
        metric: key of the result that the rule judges; may come from `TuneConfig` instead.
        mode: `min` or `max`; the loss is flipped once, here.
        time_attr: key of the result that counts epochs.
        slots: trials that can run at once; None: what the cluster's resources allow. Given, early
            stops are also held back until every slot has its own process.
        listener: hears all that happens.
        audit_fraction: chance, in [0, 1], that a trial which the rule stops runs to its end instead.
        audit_seed: of that lot; the rule's own seed if None.
        kwargs: a face's: the rule's own arguments.

    Raises:
        TypeError: if there is no rule and the class is no face, or for arguments the rule lacks.
    """

    rule_class: type[Rule] | None = None

    def __init__(
        self,
        rule: Rule | None = None,
        *,
        metric: str | None = None,
        mode: str | None = None,
        time_attr: str = TRAINING_ITERATION,
        slots: int | None = None,
        listener: Listener | None = None,
        audit_fraction: float = 0.0,
        audit_seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if rule is None:
            if self.rule_class is None:
                raise TypeError("RuleScheduler needs a rule; or take a face: schedulers.ASHA, schedulers.PBT")
            rule = self.rule_class(**kwargs)
        elif kwargs:
            raise TypeError(f"a rule was given, so {sorted(kwargs)} would be ignored; give them to the rule")
        if mode not in (None, "min", "max"):
            raise ValueError(f"mode is 'min' or 'max', not {mode!r}")
        self.rule = audited(rule, audit_fraction, audit_seed)
        self._metric, self._mode = metric, mode
        self.time_attr = time_attr
        self.slots = slots
        self.listener: Listener = listener or Listener()
        self.find_checkpoint: Callable[[str, int], str | None] | None = None
        self.more_trials: Callable[[], bool] | None = None
        self.halting: Callable[[], bool] = _never
        self.objection: Callable[[Mapping[str, Any]], str] = _no_objection
        self.retries = Retries()
        self._copies: dict[str, Exploit] = {}  # trial -> the copy it has yet to make
        self._held: dict[str, Decision] = {}  # trial -> the decision that waits for the slots to fill
        self._filling = Filling()
        self._still_since: float | None = None
        self._actors = ray_private.IdleActors()
        self._told: set[str] = set()  # trials whose end was told

    def attach(
        self,
        *,
        listener: Listener | None = None,
        find_checkpoint: Callable[[str, int], str | None] | None = None,
        slots: int | None = None,
        more_trials: Callable[[], bool] | None = None,
        halting: Callable[[], bool] | None = None,
        objection: Callable[[Mapping[str, Any]], str] | None = None,
    ) -> None:
        """Connect the adapter to a service that runs it; what is not given stays.

        Args:
            listener: as above.
            find_checkpoint: (trial id, resource) -> path or URI, for donors Ray does not know (any more).
            slots: as above.
            more_trials: whether trials are still to come that Ray has not seen.
            halting: whether the run is asked to stop: whoever would go on is saved and paused then,
                and nobody is woken or ended for waiting.
            objection: why a trial with this result must not go on, whatever the rule would say; "" if
                it may. It ends as infeasible.
        """
        self.listener = listener or self.listener
        self.find_checkpoint = find_checkpoint or self.find_checkpoint
        self.slots = slots or self.slots
        self.more_trials = more_trials or self.more_trials
        self.halting = halting or self.halting
        self.objection = objection or self.objection

    def __getstate__(self) -> dict[str, Any]:
        """What Tuner pickles: not the connections, which hold open files and threads."""
        cut = {"listener": Listener(), "find_checkpoint": None, "more_trials": None, "halting": _never}
        return {**vars(self), **cut, "objection": _no_objection, "retries": Retries()}

    # Ray asks or tells

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take metric and mode from `TuneConfig`; False if either was given here as well.

        Raises:
            ValueError: if neither place says which direction is better.
        """
        if (self._metric and metric) or (self._mode and mode):
            return False
        self._metric, self._mode = self._metric or metric or DEFAULT_METRIC, self._mode or mode
        if self._mode is None:
            raise ValueError(f"{type(self).__name__}: mode is missing; say mode='min' or mode='max'")
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """A rule meets a trial at its first report, and again after a recovery as the same."""
        if trial.trial_id in self.retries.waiting:  # its worker was lost for want of memory
            tune_controller._set_trial_status(trial, Trial.PAUSED)
        elif self.slots is not None:
            self._actors.keep(tune_controller, trial, self.slots)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Ask the rule and translate its answer."""
        name = trial.trial_id
        self._filling.saw(result)
        if outcome_of(result) is None and (reason := self.objection(result)):
            result = {**result, "outcome": "infeasible", "reason": reason}
        if outcome_of(result) == "oom" and self._grant_more(trial, result["reason"], result["error"]):
            tune_controller.pause_trial(trial, should_checkpoint=False)
            trial.update_resources(dict(self.retries.waiting[name]))
            return str(self.NOOP)
        decision = self._judge(trial, result)
        pauses = decision.milestone if isinstance(decision, Continue) else not isinstance(decision, Stop)
        if pauses and not self._actors.outlive:
            self._actors.keep_to_the_end(tune_controller, trial, self._slot_count({name: trial}))
        self.listener.reported(name, result, decision)
        if isinstance(decision, Stop):
            self._ended(
                name, outcome_of(result) or decision.ending, decision.reason, str(result.get("error") or "")
            )
        elif isinstance(decision, Pause):
            self.listener.paused(name, self._resource(result), decision.reason)
        elif isinstance(decision, Exploit):
            self._copies[name] = decision
        elif self.halting():
            self.listener.paused(name, self._resource(result), "the run was asked to stop")
            return str(self.PAUSE)
        elif decision.milestone:
            return self._at_milestone(tune_controller, trial, result)
        return self._answer(tune_controller, trial, decision)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> None:
        """A trial ended by another hand (`done`, `stop=`): the rule learns its last result too."""
        if trial.trial_id in self.rule.over:
            return
        if self.time_attr in result:
            self.rule.report(self._report(trial, result))
        self.rule.end(trial.trial_id, "completed")
        self._ended(trial.trial_id, "completed", "the trial ended by itself", "")

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A trial failed. If Ray recovers it (ERROR for a moment, :1403, :1426) it is not over."""
        self._held.pop(trial.trial_id, None)
        self._copies.pop(trial.trial_id, None)  # run again, it is judged again as it was
        error = ray_private.last_error(trial)
        starved = self.retries.starved() or ray_private.out_of_memory(error)
        if trial.status == Trial.ERROR:
            if starved and self._grant_more(trial, "its process was ended for want of memory", error):
                trial.update_resources(dict(self.retries.waiting[trial.trial_id]))
            return
        self.rule.end(trial.trial_id, "failed")
        ending = "oom" if starved else "failed"
        self._ended(trial.trial_id, ending, LOST, error)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """A trial was ended while it waited."""
        if trial.trial_id not in self.rule.over:
            self.rule.end(trial.trial_id, "stopped")
            self._ended(trial.trial_id, "stopped", "ended by another hand while it waited", "")

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Carry out what was held back; then name who runs next: copies, promotions, new trials."""
        live = _live(tune_controller)
        self._release_held(tune_controller, live)
        if self.halting():
            return None
        while (name := self.rule.hopeless(self._paused(live))) is not None:
            self._end_waiting(tune_controller, live[name])
        status = {name: trial.status for name, trial in live.items()}
        # A new trial that still waits for its slot has to let those pass that have begun already.
        busy = sum(
            s == Trial.RUNNING or (s == Trial.PENDING and n in self.rule.seen) for n, s in status.items()
        )
        if Trial.PAUSED in status.values() and busy < self._slot_count(live):
            chosen = self._next_copy(tune_controller, live) or self._next_paused(tune_controller, live)
            if chosen is not None:
                return chosen
        self._begin_retries(tune_controller, live)
        self._end_the_waiting(tune_controller, live)
        # Ray starts pending trials by itself (:876), but takes them from a set: name the first.
        return next((trial for trial in live.values() if trial.status == Trial.PENDING), None)

    def debug_string(self) -> str:
        """One line for Ray's progress table."""
        return f"{type(self.rule).__name__}: {len(self.rule.seen)} reported, {len(self.rule.over)} over"

    def _judge(self, trial: Trial, result: Mapping[str, Any]) -> Decision:
        """The rule's decision, where the trial has not decided itself by an outcome."""
        outcome = outcome_of(result)
        if outcome in (None, "completed", "diverged"):
            decision = self.rule.report(self._report(trial, result))
            if outcome is None or (outcome == "diverged" and isinstance(decision, Pause | Exploit)):
                return decision
        self.rule.end(trial.trial_id, outcome)
        return Stop(str(result.get("reason") or outcome), OUTCOMES[outcome])

    def _report(self, trial: Trial, result: Mapping[str, Any]) -> Report:
        loss = result.get(str(self._metric))
        if loss is not None:
            loss = -float(loss) if self._mode == "max" else float(loss)
        if outcome_of(result) == "diverged":
            loss = math.nan
        config = {key: value for key in self.rule.parameters for value in lookup(trial.config, key)}
        return Report(trial.trial_id, self._resource(result), loss, config)

    def _resource(self, result: Mapping[str, Any]) -> int:
        if self.time_attr not in result:
            raise ValueError(f"results have no {self.time_attr!r} (time_attr); they have {sorted(result)}")
        return int(result[self.time_attr])

    def _answer(self, controller: Any, trial: Trial, decision: Decision) -> str:
        """Ray's word for a decision. A copy begins with a pause that saves nothing."""
        if isinstance(decision, Continue):
            return str(self.CONTINUE)
        if self._must_hold(controller):
            self._held[trial.trial_id] = decision
            return str(self.NOOP)
        if isinstance(decision, Stop):
            return str(self.STOP)
        if isinstance(decision, Pause) and decision.save:
            return str(self.PAUSE)
        controller.pause_trial(trial, should_checkpoint=False)
        return str(self.NOOP)

    def _at_milestone(self, controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Save; and give way, if no slot is free and somebody waits who should go first."""
        live, mine = _live(controller), trial.trial_id
        status = [other.status for other in live.values()]
        if status.count(Trial.RUNNING) >= self._slot_count(live):
            resume = self.rule.resume([*self._paused(live), mine])
            earlier = resume is not None and resume.trial_id != mine
            if earlier or Trial.PENDING in status or self._more_trials(controller):
                self.listener.paused(mine, self._resource(result), "gave way to a trial that waits")
                return str(self.PAUSE)
        if not result.get(SHOULD_CHECKPOINT):  # else Ray saves anyway (:1604)
            ray_private.save_checkpoint(controller, trial, result)
        return str(self.CONTINUE)

    def _ended(self, trial_id: str, ending: str, reason: str, error: str) -> None:
        if trial_id not in self._told:
            self._told.add(trial_id)
            self.listener.ended(trial_id, ending, reason, error)

    def _must_hold(self, controller: Any) -> bool:
        """Whether ending or pausing a trial now would leave a slot empty (see `schedulers.slots`)."""
        starting = any(trial.status == Trial.PENDING for trial in _live(controller).values())
        return self._filling.must_hold(self.slots, starting, time.monotonic())

    def _release_held(self, controller: Any, live: Mapping[str, Trial]) -> None:
        if not self._held or self._must_hold(controller):
            return
        for name, decision in list(self._held.items()):
            trial = live.get(name)
            if trial is not None and trial.is_saving:
                continue  # ending it now would leave a stale STOP behind (:1441)
            del self._held[name]
            if trial is None or trial.status != Trial.RUNNING:
                continue
            if isinstance(decision, Stop):
                controller.stop_trial(trial)
            else:
                save = isinstance(decision, Pause) and decision.save
                controller.pause_trial(trial, should_checkpoint=save)

    # Who runs next

    def _slot_count(self, live: Mapping[str, Trial]) -> int:
        """Slots as told, or how often the first trial's request fits into the cluster."""
        if self.slots is not None or not live:
            return self.slots or 1
        wanted = next(iter(live.values())).placement_group_factory.required_resources
        return how_many_fit(wanted, ray.cluster_resources())

    def _more_trials(self, controller: Any) -> bool:
        if self.more_trials is not None:
            return self.more_trials()
        return not controller.search_alg.is_finished()

    def _paused(self, live: Mapping[str, Trial]) -> list[str]:
        """Trials a rule may resume: those about to copy somebody, or to be run once more, are spoken for."""
        spoken_for = {*self._copies, *self.retries.waiting}
        return [name for name, t in live.items() if t.status == Trial.PAUSED and name not in spoken_for]

    def _next_copy(self, controller: Any, live: Mapping[str, Trial]) -> Trial | None:
        for name, exploit in list(self._copies.items()):
            trial = live.get(name)
            if trial is None:
                del self._copies[name]
            elif trial.status == Trial.PAUSED and self._copy(controller, trial, exploit):
                return trial
        return None

    def _next_paused(self, controller: Any, live: Mapping[str, Trial]) -> Trial | None:
        while (resume := self.rule.resume(self._paused(live))) is not None:
            trial = live[resume.trial_id]
            if resume.exploit is None:
                self.rule.resumed(resume)
                self.listener.resumed(resume)
                return trial
            self._copies[resume.trial_id] = resume.exploit
            if self._copy(controller, trial, resume.exploit):
                return trial
        return None

    def _copy(self, controller: Any, trial: Trial, exploit: Exploit) -> bool:
        """Put the donor's checkpoint and the new configuration in place; False: not there yet."""
        donor = next((t for t in controller.get_trials() if t.trial_id == exploit.donor), None)
        found = self._checkpoint_of(donor, exploit)
        exact = found is not None and found.epoch == exploit.resource
        if not exact and donor is not None and self._is_on_its_way(donor, exploit.resource):
            return False
        del self._copies[trial.trial_id]
        if found is None:
            reason = f"trial {exploit.donor} has no checkpoint to copy; goes on from its own"
            logger.warning("trial %s: %s", trial.trial_id, reason)
            self.rule.resumed(Resume(trial.trial_id, reason))
            self.listener.resumed(Resume(trial.trial_id, reason))
            return True
        trial.set_config(overlay(trial.config, exploit.config, self.rule.parameters))
        ray_private.start_from(trial, found)
        self.rule.resumed(Resume(trial.trial_id, exploit.reason, exploit))
        self.listener.exploited(trial.trial_id, exploit)
        return True

    def _checkpoint_of(self, donor: Trial | None, exploit: Exploit) -> ray_private.Saved | None:
        """The donor's checkpoint at the resource; failing that, its last one before."""
        resource = exploit.resource
        known = ray_private.last_checkpoint(donor, self.time_attr, resource) if donor else None
        lacking = known is None or known.epoch < resource
        path = self.find_checkpoint(exploit.donor, resource) if lacking and self.find_checkpoint else None
        if path is None:
            return known
        metrics = {TRAINING_ITERATION: resource, self.time_attr: resource}
        return ray_private.Saved(resource, Checkpoint(path), metrics)

    def _is_on_its_way(self, donor: Trial, resource: int) -> bool:
        """Whether the donor's checkpoint is being saved, or the donor is run again up to it."""
        if donor.is_saving or donor.status == Trial.PENDING:
            return True
        return bool(donor.status == Trial.RUNNING and donor.last_result.get(self.time_attr, 0) < resource)

    def _grant_more(self, trial: Trial, reason: str, error: str) -> bool:
        """Line a trial that ran out of memory up for its second run, if it may have one."""
        share = self.retries.grant(trial.trial_id)
        if share is not None:
            self.listener.retried(trial.trial_id, share, reason, error)
        return share is not None

    def _begin_retries(self, controller: Any, live: Mapping[str, Trial]) -> None:
        """Start those that ran out of memory once nothing else runs; end the idle processes in their way."""
        begun = [t for name, t in live.items() if name in self.retries.begun and t.status == Trial.PENDING]
        if not any(trial.status in (Trial.RUNNING, Trial.PENDING) for trial in live.values()):
            begun += [live[name] for name in list(self.retries.waiting) if name in live]
            for trial in begun:
                self.retries.begin(trial.trial_id)
                controller._set_trial_status(trial, Trial.PENDING)
        if begun:
            self._actors.let_go(controller)

    def _end_the_waiting(self, controller: Any, live: Mapping[str, Trial]) -> None:
        """End the paused when nothing is left that could wake them, else the experiment never ends."""
        waiting = self._paused(live)
        if len(waiting) < len(live) or not waiting:
            self._still_since = None
            return
        self._still_since = self._still_since or time.monotonic()
        if self._more_trials(controller) and time.monotonic() - self._still_since < STILL_S:
            return
        self.rule.no_more_trials([trial.trial_id for trial in controller.get_trials()])
        if self.rule.resume(waiting) is not None:
            return
        for name in waiting:
            self._end_waiting(controller, live[name])

    def _end_waiting(self, controller: Any, trial: Trial) -> None:
        decision = self.rule.last_decision(trial.trial_id)
        self.rule.end(trial.trial_id, decision.ending)
        self._ended(trial.trial_id, decision.ending, decision.reason, "")
        controller.stop_trial(trial)


def _face(name: str, path: str) -> type[RuleScheduler]:
    """A rule as a Ray Tune scheduler: `RuleScheduler` that builds the rule from its own arguments."""
    module, _, rule_name = path.rpartition(".")
    rule = getattr(importlib.import_module(module), rule_name)
    summary = (inspect.getdoc(rule) or name).partition("\n")[0]
    words = f"{summary}\n\n`{path}` as a Ray Tune scheduler; arguments as there and as of `RuleScheduler`."
    # __module__: pickled by reference, as schedulers.tune.ASHA.
    return type(name, (RuleScheduler,), {"rule_class": rule, "__module__": __name__, "__doc__": words})


def _never() -> bool:
    return False


def _no_objection(result: Mapping[str, Any]) -> str:
    return ""


def _live(controller: Any) -> dict[str, Trial]:
    """Unfinished trials in order of their ids. Ray keeps them in a set, the failed among them."""
    live = (trial for trial in controller.get_live_trials() if not trial.is_finished())
    return {trial.trial_id: trial for trial in sorted(live, key=lambda trial: str(trial.trial_id))}


# The faces: schedulers.ASHA, schedulers.PBT, ... one a rule.
globals().update({name: _face(name, path) for name, path in RULES.items()})
