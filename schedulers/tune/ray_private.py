"""Every private name of Ray that the adapter leans on, in one place.

tests/schedulers/test_ray_private.py holds their signatures against Ray 2.60.0; when it fails after an
upgrade, this file is the only one to look at.
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


class _Nobody:
    """A trial that is staged and never starts."""

    placement_group_factory = None  # equals nobody's, so no process is ever counted as this one's


class IdleActors:
    """How many idle processes wait for the next trial, and until when.

    Ray by itself keeps one, and from the last trial's start on none; but a barrier empties every slot at
    once, whoever pauses wants a process again, and a new one costs seconds of imports.

    Attributes:
        outlive: whether they are kept although the search has no trial left to give.
    """

    def __init__(self) -> None:
        self.kept = 0
        self.outlive = False
        self._asked: Any = None  # resources of those that are kept

    def keep(self, controller: Any, trial: Trial, count: int) -> None:
        """Let so many wait, from the first call on.

        `_actor_cache` keeps as many as are staged: staging so many for ever keeps the slots' own.
        """
        if self._asked is None:
            self._asked = trial.placement_group_factory
            _raw(controller)._actor_cache.increase_max(self._asked, by=count)
            self.kept = count

    def resize(self, controller: Any, count: int) -> None:
        """Let another number wait, from now on; before the first call of `keep`, nothing."""
        if self._asked is not None:
            _raw(controller)._actor_cache.increase_max(self._asked, by=count - self.kept)
            self.kept = count

    def keep_to_the_end(self, controller: Any, trial: Trial, count: int) -> None:
        """Let them wait also when the search is finished.

        Ray then ends the process of whoever pauses, unless somebody is staged (:1081): so somebody is
        who never starts.
        """
        self.keep(controller, trial, count)
        if not self.outlive:
            _raw(controller)._staged_trials.add(_Nobody())
            self.outlive = True

    def let_go(self, controller: Any) -> None:
        """End all that are idle now: they hold what a larger trial waits for."""
        _raw(controller)._cleanup_cached_actors(force_all=True)


def _raw(controller: Any) -> Any:
    """The controller behind the wrapper that warns of what a scheduler does with it."""
    return getattr(controller, "_tune_controller", controller)


def limit_pending(controller: Any, count: int) -> None:
    """Let so many trials wait for their processes, as TUNE_MAX_PENDING_TRIALS_PG does for a whole run."""
    _raw(controller).update_max_pending_trials(count)


def survive_dead_idle_processes(controller: Any) -> None:
    """Let a trial that was given an idle process which is dead by then be given another.

    Such a trial is still pending, and Ray recovers none but the running: it would end as failed (:1359),
    or, told of the process first and of the call to it later, twice. Idempotent.
    """
    raw = _raw(controller)
    failed, resetting = raw._trial_task_failure, raw._resetting_trials
    if getattr(failed, "survives", False):
        return

    def lost_while_reset(trial: Trial, exception: Exception) -> None:
        was_resetting = trial in resetting
        resetting.discard(trial)
        if trial.status == Trial.PENDING:
            if not was_resetting:
                return  # it waits for another process already
            raw._set_trial_status(trial, Trial.RUNNING)
        failed(trial, exception)

    lost_while_reset.survives = True  # type: ignore[attr-defined]
    raw._trial_task_failure = lost_while_reset


class LaneTrainables:
    """In the place of a controller's cache of classes: none is registered with Ray, the hosts are."""

    def get(self, trainable_cls: type) -> type:
        """The class itself."""
        return trainable_cls


def use_lanes(controller: Any, manager: Any) -> None:
    """Have a controller that has started nobody run its trials in the lanes of a manager. Idempotent."""
    raw = _raw(controller)
    if raw._actor_manager is not manager:
        raw._actor_manager, raw._class_cache, raw._reuse_actors = manager, LaneTrainables(), False


@contextmanager
def without_callback_tags() -> Iterator[None]:
    """Run a Tuner in here without having the names of its callbacks counted for Ray's usage statistics.

    To count them, switched off or not, Ray imports MLflow and all other integrations there are: 1.6 to 2.2 s
    of the driver's CPU, before the first trial.
    """
    count = usage.tag_callbacks
    usage.tag_callbacks = lambda callbacks: False
    try:
        yield
    finally:
        usage.tag_callbacks = count


def request_of(resource_request: Any) -> dict[str, float]:
    """What a trial asks for, in Ray's words, without what it asks none of."""
    return {kind: amount for kind, amount in resource_request.required_resources.items() if amount > 0}


def train_ahead(controller: Any, limits: Callable[[Trial], tuple[int, float]]) -> None:
    """Let trials train several epochs before they answer: as many, and for as many seconds, as `limits` says.

    `_schedule_trial_train` asks `_maybe_buffer_training`, and where that allows more than one epoch it
    passes both numbers, in this order, to the trainable's `train_buffered` (:1479). Idempotent.
    """
    _raw(controller)._maybe_buffer_training = limits


def drop_queued_decision(controller: Any, trial: Trial) -> None:
    """Forget what was decided on an earlier result of those that a trial has handed over together.

    Ray keeps the first decision of a load unless a later one is to stop or to pause (`_queue_decision`): a
    NOOP on the last result, whose trial waits or is being saved, would be overruled by the CONTINUE before.
    """
    _raw(controller)._queued_trial_decisions.pop(trial.trial_id, None)


def save_checkpoint(controller: Any, trial: Trial, result: Mapping[str, Any]) -> None:
    """Have a running trial save; Ray carries out the decision on `result` once it has.

    tune_controller.py: `_schedule_trial_save` sets `saving_to`, `_process_trial_result` then caches
    the decision, `_process_trial_save` acts on it.
    """
    controller._schedule_trial_save(trial, result=dict(result))


class Saved(NamedTuple):
    """A checkpoint, the epoch at which it was taken, and the result it belongs to."""

    epoch: int
    checkpoint: Checkpoint
    metrics: Mapping[str, Any]


def can_go_on(trial: Trial, result: Mapping[str, Any]) -> bool:
    """Whether a trial that is paused after this result can go on from where it was.

    A function hands its checkpoints in with its results, a class saves when it is asked.
    """
    trainable = trial.get_trainable_cls()
    if trainable is not None and issubclass(trainable, FunctionTrainable):
        return bool(result.get(SHOULD_CHECKPOINT)) or trial.checkpoint is not None
    return getattr(trainable, "save_checkpoint", None) is not Trainable.save_checkpoint


def last_error(trial: Trial) -> str:
    """What Ray noted of the trial's last failure, without its own heading; empty if nothing.

    `Trial.get_error` looks where the file is only copied to when the experiment is saved.
    """
    file = trial.error_file
    try:
        text = Path(file).read_text(encoding="utf-8") if file else ""
    except OSError:
        return ""
    return text.rpartition("Failure # ")[2].partition("\n")[2].strip()


def last_exception(trial: Trial) -> BaseException | None:
    """What was raised in the trial's process at its last failure; None if nothing that can be told.

    `Trial.handle_error` keeps what came of a task beside `error_file`; `get_pickled_error` looks where that
    is only copied to when the experiment is saved.
    """
    file = trial.pickled_error_file
    try:
        error = pickle.loads(Path(file).read_bytes()) if file else None
    except Exception:  # an exception of the user's may raise anything when it is read back
        return None
    return error.cause if isinstance(error, RayTaskError) else error


def out_of_memory(error: str) -> bool:
    """Whether a worker's loss, as `last_error` tells it, was Ray's memory monitor's doing."""
    return "running low on memory" in error


def terminated(error: str) -> bool:
    """Whether a worker's loss, as `last_error` tells it, was asked for by a SIGTERM."""
    return "receives a SIGTERM" in error


def last_checkpoint(trial: Trial, time_attr: str, resource: int) -> Saved | None:
    """The trial's own last checkpoint not after `resource`; one it merely went on from is not its own.

    Ray sorts the list by score where a CheckpointConfig names one, so it is the epochs that decide.
    """
    saved = trial.run_metadata.checkpoint_manager.best_checkpoint_results
    known = [
        Saved(int(s.metrics[time_attr]), s.checkpoint, s.metrics) for s in saved if time_attr in s.metrics
    ]
    return max((s for s in known if s.epoch <= resource), key=lambda s: s.epoch, default=None)


def start_at(trial: Trial, path: str | None) -> None:
    """Make a trial that waits to be started again go on from this checkpoint; None: from its first epoch."""
    found = _TrainingResult(Checkpoint(path), {}) if path is not None else None
    trial.run_metadata.checkpoint_manager._latest_checkpoint_result = found
    trial._restore_checkpoint_result = None  # what it was added with, and went on from
    trial.run_metadata.invalidate_cache()


def start_from(trial: Trial, saved: Saved) -> None:
    """Make a paused trial go on from `saved` when it is started next.

    As schedulers/pbt.py `_exploit` does: the latest checkpoint is what `_schedule_trial_restore`
    reads, while the trial's own list stays its own. A copy, for `set_storage` rewrites paths in place.
    """
    manager = trial.run_metadata.checkpoint_manager
    manager._latest_checkpoint_result = _TrainingResult(copy.copy(saved.checkpoint), dict(saved.metrics))
    trial.run_metadata.invalidate_cache()
