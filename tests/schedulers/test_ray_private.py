"""The private names of Ray 2.60.0 that we use exist, with the expected signatures."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
import ray
from ray.exceptions import RayTaskError
from ray.train._internal.checkpoint_manager import _CheckpointManager
from ray.train._internal.session import _TrainingResult
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.utils.object_cache import _ObjectCache

from schedulers.tune.ray_private import (
    IdleActors,
    last_exception,
    survive_dead_idle_processes,
    without_callback_tags,
)
from trainables.checkpoint_integrity import CorruptCheckpoint
from trainables.first_step_failed import FirstStepFailed


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_ray_is_the_version_that_was_read() -> None:
    assert ray.__version__ == "2.60.0"


def test_a_save_is_scheduled_with_trial_and_result() -> None:
    assert parameters(TuneController._schedule_trial_save) == ["self", "trial", "result"]


def test_a_pause_can_leave_the_checkpoint_out() -> None:
    assert parameters(TuneController.pause_trial) == ["self", "trial", "should_checkpoint"]
    assert parameters(TuneController.stop_trial) == ["self", "trial"]


def test_a_training_result_is_a_checkpoint_and_metrics() -> None:
    assert parameters(_TrainingResult) == ["checkpoint", "metrics"]


def test_the_latest_checkpoint_is_what_a_trial_restores() -> None:
    manager = _CheckpointManager(None)
    manager._latest_checkpoint_result = result = _TrainingResult(None, {})
    assert manager.latest_checkpoint_result is result
    assert manager.best_checkpoint_results == []
    assert "checkpoint_manager.latest_checkpoint_result" in inspect.getsource(
        Trial.latest_checkpoint_result.fget
    )
    assert "self._restore_checkpoint_result" in inspect.getsource(Trial.latest_checkpoint_result.fget)


def test_the_scheduler_keeps_its_metric_where_ray_looks() -> None:
    """The strict check of results reads `scheduler.metric`."""
    scheduler = TrialScheduler()
    scheduler._metric = "val_loss"
    assert scheduler.metric == "val_loss"


def test_a_cache_told_to_expect_more_keeps_more_idle_processes() -> None:
    cache = _ObjectCache(may_keep_one=True)
    cache.increase_max("resources", by=2)
    assert [cache.cache_object("resources", n) for n in range(3)] == [True, True, False]
    assert list(cache.flush_cached_objects()) == []


def test_while_somebody_is_staged_idle_processes_are_kept() -> None:
    """Also after the search has finished; Ray reads only the resources of a staged trial."""
    keeps = inspect.getsource(TuneController._maybe_cache_trial_actor)
    assert "if self._search_alg.is_finished() and not self._staged_trials:" in keeps
    assert "total_max_objects == 0" in inspect.getsource(TuneController._cleanup_cached_actors)
    finds = inspect.getsource(TuneController._unstage_trial_with_resources)
    assert "staged_resources = staged_trial.placement_group_factory" in finds


class OneTrial:
    status = Trial.PENDING


class Controller:
    """The parts of Ray's controller that handle a lost process."""

    def __init__(self) -> None:
        self._resetting_trials: set[Any] = set()
        self.recovered: list[Any] = []

    def _set_trial_status(self, trial: OneTrial, status: str) -> None:
        trial.status = status

    def _trial_task_failure(self, trial: OneTrial, exception: Any) -> None:
        if trial.status == Trial.RUNNING:
            self.recovered.append(trial)
            trial.status = Trial.PENDING
        else:
            trial.status = Trial.ERROR


@pytest.mark.parametrize("reports", [1, 2])
def test_a_trial_given_a_dead_idle_process_is_recovered_once(reports: int) -> None:
    """Ray reports the lost process, the lost call, or both."""
    controller, trial = Controller(), OneTrial()
    survive_dead_idle_processes(controller)
    survive_dead_idle_processes(controller)
    controller._resetting_trials.add(trial)
    for _ in range(reports):
        controller._trial_task_failure(trial, RuntimeError("lost"))
    assert (controller.recovered, trial.status) == ([trial], Trial.PENDING)
    assert not controller._resetting_trials  # else it would wait for that process for ever


def test_a_trial_is_reset_by_a_call_that_tells_of_its_failure() -> None:
    source = inspect.getsource(TuneController._schedule_trial_reset)
    assert "self._resetting_trials.add(trial)" in source
    assert "on_error=self._trial_task_failure" in source
    failed = inspect.getsource(TuneController._process_trial_failure)
    assert "if trial.status == Trial.RUNNING and trial.should_recover():" in failed


class Refuses(Exception):
    """A user's exception that can be pickled but not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Refuses._read, ())

    @staticmethod
    def _read() -> None:
        raise RuntimeError("not here")


def kept(file: Path, raised: Any) -> Any:
    """A trial that failed with an error, as `Trial.handle_error` records it."""
    file.write_bytes(cloudpickle.dumps(raised))
    return SimpleNamespace(pickled_error_file=str(file))


def test_what_a_trial_raised_comes_back_with_its_fields(tmp_path: Path) -> None:
    raised = RayTaskError("step", "Traceback", FirstStepFailed(["no gradient; give one", "no loss"]))
    for each in (raised, raised.as_instanceof_cause()):
        error = last_exception(kept(tmp_path / "error.pkl", each))
        assert isinstance(error, FirstStepFailed)
        assert error.reasons == ("no gradient; give one", "no loss")
    damaged = RayTaskError("load", "Traceback", CorruptCheckpoint("cut"))
    assert isinstance(last_exception(kept(tmp_path / "error.pkl", damaged)), CorruptCheckpoint)


def test_what_cannot_be_told_of_a_failure_is_none(tmp_path: Path) -> None:
    assert last_exception(SimpleNamespace(pickled_error_file=None)) is None
    assert last_exception(SimpleNamespace(pickled_error_file=str(tmp_path / "gone"))) is None
    assert last_exception(kept(tmp_path / "error.pkl", Refuses())) is None


def test_the_pending_trials_of_a_run_can_be_limited_anew() -> None:
    assert parameters(TuneController.update_max_pending_trials) == ["self", "max_pending_trials"]


def test_idle_processes_are_kept_for_as_many_slots_as_there_are_now() -> None:
    cache, trial = _ObjectCache(may_keep_one=False), SimpleNamespace(placement_group_factory="cpu")
    controller, idle = SimpleNamespace(_actor_cache=cache), IdleActors()
    idle.resize(controller, 5)  # before the first trial: nothing is kept yet
    kept = [cache.total_max_objects]
    idle.keep(controller, trial, 2)
    kept.append(cache.total_max_objects)
    for count in (5, 1):
        idle.resize(controller, count)
        kept.append(cache.total_max_objects)
    assert kept == [0, 2, 5, 1]


def test_callbacks_are_counted_by_the_one_function_that_is_replaced() -> None:
    from ray.air._internal import usage
    from ray.tune import tune

    assert "air_usage.tag_callbacks(callbacks)" in inspect.getsource(tune.run)
    assert tune.air_usage is usage
    count = usage.tag_callbacks
    with without_callback_tags():
        assert usage.tag_callbacks([]) is False
        assert usage.tag_callbacks is not count
    assert usage.tag_callbacks is count
