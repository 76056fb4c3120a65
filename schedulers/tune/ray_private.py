"""All private names of Ray that the adapter uses.

tests/schedulers/test_ray_private.py checks their signatures in Ray 2.60.0; if it fails after an upgrade,
this is the only file to change.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ray.air._internal import usage
from ray.air.execution._internal.tracked_actor import TrackedActor as TrackedActor
from ray.exceptions import RayTaskError
from ray.train._internal.session import _TrainingResult
from ray.tune import Checkpoint, Trainable
from ray.tune.experiment import Trial
from ray.tune.result import SHOULD_CHECKPOINT
from ray.tune.trainable.function_trainable import FunctionTrainable


class _NeverStartingTrial:
    """A placeholder for a staged trial, which never starts."""

    placement_group_factory = None  # equals no other, so no process is ever counted as this trial's


class IdleActors:
    """Controls how many idle processes are kept for the next trials.

    Ray keeps one, and none once the last trial has started. But a barrier empties every slot at once,
    paused trials need processes again, and starting one costs seconds of imports.

    Attributes:
        outlive: whether idle processes are kept after the search has finished.
    """

    def __init__(self) -> None:
        self.kept = 0
        self.outlive = False
        self._request: Any = None  # resource request of the kept processes

    def keep(self, controller: Any, trial: Trial, count: int) -> None:
        """Keep so many idle processes; only the first call counts.

        `_actor_cache` keeps as many as trials are staged, so `count` is added to that for good.
        """
        if self._request is None:
            self._request = trial.placement_group_factory
            _raw(controller)._actor_cache.increase_max(self._request, by=count)
            self.kept = count

    def resize(self, controller: Any, count: int) -> None:
        """Change the number of idle processes kept; without effect before `keep`."""
        if self._request is not None:
            _raw(controller)._actor_cache.increase_max(self._request, by=count - self.kept)
            self.kept = count

    def keep_to_the_end(self, controller: Any, trial: Trial, count: int) -> None:
        """Keep the idle processes after the search has finished, too.

        Ray then ends the process of a trial that pauses, unless a trial is staged (:1081): so one is
        staged that never starts.
        """
        self.keep(controller, trial, count)
        if not self.outlive:
            _raw(controller)._staged_trials.add(_NeverStartingTrial())
            self.outlive = True

    def let_go(self, controller: Any) -> None:
        """End all idle processes, to free their resources for a larger trial."""
        _raw(controller)._cleanup_cached_actors(force_all=True)


def _raw(controller: Any) -> Any:
    """The controller behind Ray's wrapper, which warns of a scheduler's writes to it."""
    return getattr(controller, "_tune_controller", controller)


def limit_pending(controller: Any, count: int) -> None:
    """Limit the trials that wait for a process, as TUNE_MAX_PENDING_TRIALS_PG does for a whole run."""
    _raw(controller).update_max_pending_trials(count)


def survive_dead_idle_processes(controller: Any) -> None:
    """Let a trial whose idle process turns out to be dead get another one. Idempotent.

    Such a trial is still pending, and Ray recovers only running trials: it would end as failed (:1359),
    or twice if Ray learns of the process first and of the call on it later.
    """
    raw = _raw(controller)
    handle_failure, resetting = raw._trial_task_failure, raw._resetting_trials
    if getattr(handle_failure, "survives", False):
        return

    def lost_while_reset(trial: Trial, exception: Exception) -> None:
        was_resetting = trial in resetting
        resetting.discard(trial)
        if trial.status == Trial.PENDING:
            if not was_resetting:
                return  # it waits for another process already
            raw._set_trial_status(trial, Trial.RUNNING)
        handle_failure(trial, exception)

    lost_while_reset.survives = True  # type: ignore[attr-defined]
    raw._trial_task_failure = lost_while_reset


class LaneTrainables:
    """Replaces a controller's cache of classes: only hosts are registered with Ray, no trainables."""

    def get(self, trainable_cls: type) -> type:
        """The class itself."""
        return trainable_cls


def use_lanes(controller: Any, manager: Any) -> None:
    """Let a controller that has not started a trial yet run its trials in lanes. Idempotent."""
    raw = _raw(controller)
    if raw._actor_manager is not manager:
        raw._actor_manager, raw._class_cache, raw._reuse_actors = manager, LaneTrainables(), False


@contextmanager
def without_callback_tags() -> Iterator[None]:
    """Keep a Tuner from counting the names of its callbacks for Ray's usage statistics.

    To count them, even if statistics are switched off, Ray imports MLflow and all other integrations: 1.6 to
    2.2 s of the driver's CPU before the first trial.
    """
    count = usage.tag_callbacks
    usage.tag_callbacks = lambda callbacks: False
    try:
        yield
    finally:
        usage.tag_callbacks = count


def request_of(resource_request: Any) -> dict[str, float]:
    """The resources that a trial requests, without those of amount zero."""
    return {kind: amount for kind, amount in resource_request.required_resources.items() if amount > 0}


def train_ahead(controller: Any, limits: Callable[[Trial], tuple[int, float]]) -> None:
    """Let trials train several epochs before they answer; `limits` gives the epochs and seconds. Idempotent.

    `_schedule_trial_train` calls `_maybe_buffer_training`, and if that allows more than one epoch it
    passes both numbers, in this order, to the trainable's `train_buffered` (:1479).
    """
    _raw(controller)._maybe_buffer_training = limits


def drop_queued_decision(controller: Any, trial: Trial) -> None:
    """Drop the decision on an earlier one of the results that a trial has returned together.

    Ray keeps the first of these decisions unless a later one is to stop or to pause (`_queue_decision`): a
    NOOP on the last result, whose trial waits or is being saved, would be overruled by the CONTINUE before.
    """
    _raw(controller)._queued_trial_decisions.pop(trial.trial_id, None)


def save_checkpoint(controller: Any, trial: Trial, result: Mapping[str, Any]) -> None:
    """Let a running trial save a checkpoint; Ray carries out the decision on `result` afterwards.

    tune_controller.py: `_schedule_trial_save` sets `saving_to`, `_process_trial_result` then caches
    the decision, `_process_trial_save` acts on it.
    """
    controller._schedule_trial_save(trial, result=dict(result))


class Saved(NamedTuple):
    """A checkpoint, its epoch, and the result it belongs to."""

    epoch: int
    checkpoint: Checkpoint
    metrics: Mapping[str, Any]


def can_go_on(trial: Trial, result: Mapping[str, Any]) -> bool:
    """Whether a trial paused after this result can go on from there.

    A function trainable reports checkpoints with its results; a class saves on request.
    """
    trainable = trial.get_trainable_cls()
    if trainable is not None and issubclass(trainable, FunctionTrainable):
        return bool(result.get(SHOULD_CHECKPOINT)) or trial.checkpoint is not None
    return getattr(trainable, "save_checkpoint", None) is not Trainable.save_checkpoint


def last_error(trial: Trial) -> str:
    """Ray's text on the trial's last failure, without its heading; empty if there is none.

    `Trial.get_error` reads a copy that is only made when the experiment is saved.
    """
    file = trial.error_file
    try:
        text = Path(file).read_text(encoding="utf-8") if file else ""
    except OSError:
        return ""
    return text.rpartition("Failure # ")[2].partition("\n")[2].strip()


def last_exception(trial: Trial) -> BaseException | None:
    """The exception in the trial's process at its last failure; None if there is none or it cannot be read.

    `Trial.handle_error` writes it beside `error_file`; `get_pickled_error` reads a copy that is only made
    when the experiment is saved.
    """
    file = trial.pickled_error_file
    try:
        error = pickle.loads(Path(file).read_bytes()) if file else None
    except Exception:  # unpickling a user's exception may raise anything
        return None
    return error.cause if isinstance(error, RayTaskError) else error


def out_of_memory(error: str) -> bool:
    """Whether Ray's memory monitor killed a worker, by the text of `last_error`."""
    return "running low on memory" in error


def terminated(error: str) -> bool:
    """Whether a worker ended by a SIGTERM, by the text of `last_error`."""
    return "receives a SIGTERM" in error


def last_checkpoint(trial: Trial, time_attr: str, resource: int) -> Saved | None:
    """The last checkpoint up to `resource` that the trial itself saved.

    Chosen by epoch, for Ray sorts the list by score if a CheckpointConfig names one.
    """
    results = trial.run_metadata.checkpoint_manager.best_checkpoint_results
    saved = [
        Saved(int(s.metrics[time_attr]), s.checkpoint, s.metrics) for s in results if time_attr in s.metrics
    ]
    return max((s for s in saved if s.epoch <= resource), key=lambda s: s.epoch, default=None)


def start_at(trial: Trial, path: str | None) -> None:
    """Let a trial that waits to be started again go on from a checkpoint; None: from its first epoch."""
    result = _TrainingResult(Checkpoint(path), {}) if path is not None else None
    trial.run_metadata.checkpoint_manager._latest_checkpoint_result = result
    trial._restore_checkpoint_result = None  # the checkpoint that it was added with
    trial.run_metadata.invalidate_cache()


def start_from(trial: Trial, saved: Saved) -> None:
    """Let a paused trial go on from `saved` when it is started next.

    As `_exploit` in Ray's schedulers/pbt.py does: `_schedule_trial_restore` reads the latest checkpoint,
    while the trial's list of its own checkpoints stays. A copy, as `set_storage` rewrites paths in place.
    """
    manager = trial.run_metadata.checkpoint_manager
    manager._latest_checkpoint_result = _TrainingResult(copy.copy(saved.checkpoint), dict(saved.metrics))
    trial.run_metadata.invalidate_cache()
