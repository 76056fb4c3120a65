"""Ray's callbacks: what happens to a study's trials while they run, and when the attempt ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.stopper import Stopper

from raysweep.study.execution.checkpoint_fallback import find_intact_checkpoint
from raysweep.study.execution.controller import StudyController
from raysweep.study.execution.ray_search import NeverPickled, RaySearch
from raysweep.study.execution.slot_follower import SlotFollower, SlotNeed
from raysweep.study.execution.trial_events import WORKERS_LOST_WITHOUT_PROGRESS, TrialEventEmitter
from raysweep.study.execution.trial_timeouts import Watchdog
from raysweep.study.journal.events import CheckpointSaved, TrialRecovered, TrialStarted
from schedulers.reason import ReasonCode
from schedulers.tune.lane_manager import LaneManager
from schedulers.tune.ray_private import last_error, last_exception, start_at, terminated
from trainables.checkpoint_integrity import CorruptCheckpoint
from trainables.first_step_failed import FirstStepFailed

NEED_S = 1.0  # between two counts of the trials that could run
STOP_GRACE_S = 10.0  # how long running epochs may take to end once a stop is requested


class StudyStopper(NeverPickled, Stopper):  # type: ignore[misc]  # ray ships no types
    """Ends the experiment once a stop was requested and the running epochs have ended.

    Trials that Ray ends this way have not ended for the study: the journal has no end of them, and `resume`
    continues them.
    """

    def __init__(
        self,
        controller: StudyController,
        search: RaySearch,
        emitter: TrialEventEmitter,
        watchdog: Watchdog,
        follower: SlotFollower,
        lanes: LaneManager | None = None,
    ) -> None:
        self.controller, self.search, self.emitter, self.watchdog = controller, search, emitter, watchdog
        self.follower, self.lanes = follower, lanes
        self._since: float | None = None
        self._counted_at = 0.0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """False: trials are ended by the rule."""
        return False

    def stop_all(self) -> bool:
        """Whether to end now; called at every step of Ray's controller."""
        if self.controller.unfit:
            return True
        self._end_hung_trials()
        self.check()
        if not self.controller.stop.requested:
            return False
        self._since = self._since or time.monotonic()
        return self.search.busy() == 0 or time.monotonic() - self._since > STOP_GRACE_S

    def check(self) -> None:
        """Update the slots, and request a stop if a limit is reached."""
        count = self.follower.now
        if time.monotonic() - self._counted_at > NEED_S:  # its cost grows with the number of trials
            busy, self._counted_at = self.search.busy(), time.monotonic()
            self.follower.need = SlotNeed(busy, self.controller.wanted(busy))
        self.controller.change_slots(count)
        self.controller.check_limits()
        running = any(trial.status == Trial.RUNNING for trial in self.search.live.values())
        self.controller.check_placed(running or count.shared, _describe_machines)

    def _end_hung_trials(self) -> None:
        """Kill the processes of hung trials; to Ray each is a lost worker."""
        records, live = self.controller.record.trials, self.search.live
        running = [
            name
            for name, trial in live.items()
            if trial.status == Trial.RUNNING and records[name].status == "running"
        ]
        for name in self._hung(running):
            reason = f"no epoch in {self.watchdog.limit_s:g} s (trial_timeout_s): it hangs, or it is too slow"
            self.controller.rule.end(name, "failed")
            self.emitter.ended(name, "failed", reason, code=ReasonCode.TRIAL_TIMEOUT)
            live[name].max_failures = 0
            if self.lanes is None:
                ray.kill(live[name].temporary_state.ray_actor)
            else:
                self.lanes.kill_process(name)

    def _hung(self, running: list[str]) -> list[str]:
        """The running trials that have been silent for too long."""
        if self.lanes is None or self.watchdog.limit_s is None:
            return self.watchdog.overdue(running)
        return self.lanes.hung_trials(self.watchdog.limit_s + self.watchdog.tolerance_s)


def _describe_machines() -> str:
    """The nodes and resources that Ray has now."""
    nodes = sum(node["Alive"] for node in ray.nodes())
    total, free = ray.cluster_resources(), ray.available_resources()
    counts = (f"{total.get(kind, 0):g} {kind} ({free.get(kind, 0):g} free)" for kind in ("CPU", "GPU"))
    return f"{nodes} node{'s are' if nodes > 1 else ' is'} up, with {' and '.join(counts)}"


class TrialCallbacks(NeverPickled, tune.Callback):  # type: ignore[misc]  # ray ships no types
    """Emits the events that only Ray's callbacks tell: starts, checkpoints, lost workers."""

    def __init__(self, controller: StudyController, watchdog: Watchdog) -> None:
        self.controller, self.watchdog = controller, watchdog

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Note that the trial is alive."""
        self.watchdog.heard(trial.trial_id)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Emit that the trial has a process."""
        self.watchdog.heard(trial.trial_id)
        self._emit(TrialStarted, trial, attempt=self.controller.attempt)

    def on_checkpoint(
        self, iteration: int, trials: list[Trial], trial: Trial, checkpoint: Any, **info: Any
    ) -> None:
        """Emit that a whole checkpoint is on disk; the trial has not continued since."""
        self.watchdog.heard(trial.trial_id)
        record = self.controller.record.trials[trial.trial_id]
        path = self.controller.folder.relative(checkpoint.path)
        epoch = int(trial.last_result["epoch"])
        self._emit(CheckpointSaved, trial, epoch=epoch, generation=record.generation, path=path)
        self.controller.janitor.collect(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Emit that a worker was lost; a trial that keeps losing its worker ends at the next loss."""
        if trial.status == Trial.PAUSED or trial.is_finished():
            return  # the adapter has paused or ended it: out of memory, or waiting for a donor
        error, raised = last_error(trial) or "worker lost", last_exception(trial)
        if isinstance(raised, FirstStepFailed) and self.controller.record.epochs == 0:
            self.controller.refuse(raised.reasons)
            return
        if isinstance(raised, CorruptCheckpoint):
            location, error = find_intact_checkpoint(
                self.controller.record, self.controller.folder.locate, trial.trial_id
            )
            start_at(trial, location)
        self._emit(TrialRecovered, trial, error=error, terminated=terminated(error))
        losses = self.controller.record.trials[trial.trial_id].worker_failures
        if losses >= WORKERS_LOST_WITHOUT_PROGRESS - 1 and not self.controller.rule.replaces:
            trial.max_failures = 0  # the next loss ends it

    def _emit(self, kind: Callable[..., Any], trial: Trial, **fields: Any) -> None:
        self.controller.bus.emit(kind(t=self.controller.bus.clock(), trial=trial.trial_id, **fields))
