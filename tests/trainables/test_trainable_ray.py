"""The trainable on a real Ray, in a program without the service."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from tests.trainables.samples import BASE
from trainables.tune import TorchTrainable

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("default")]  # ray's own warnings are not ours

CLONE = str(Path(__file__).resolve().parents[2])


@pytest.fixture(scope="module")
def one_core() -> Iterator[None]:
    """A Ray of one core, so that two trials must share one actor."""
    ray.init(
        num_cpus=1,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        object_store_memory=2**27,
        runtime_env={"env_vars": {"PYTHONPATH": CLONE, "OMP_NUM_THREADS": "1"}},
    )
    yield
    ray.shutdown()


class PauseOften(tune.schedulers.FIFOScheduler):  # type: ignore[misc]
    """Pauses every trial after every epoch: each goes on from a checkpoint, in whatever actor is free."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self.PAUSE

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        waiting = [trial for trial in tune_controller.get_trials() if trial.status in ("PENDING", "PAUSED")]
        return min(waiting, key=lambda trial: trial.last_result.get("epoch", 0), default=None)


class Curves(tune.Callback):  # type: ignore[misc]
    """Collects val_loss, and the process, of every epoch of every trial."""

    def __init__(self) -> None:
        self.curves: dict[Any, Any] = {}
        self.processes: set[Any] = set()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.curves.setdefault(trial.config["optimizer_config"]["lr"], []).append(result["val_loss"])
        self.processes.add(result["pid"])


def fit(folder: Path, name: str, scheduler: PauseOften | None = None) -> tuple[Any, ...]:
    curves = Curves()
    results = tune.Tuner(
        TorchTrainable,
        param_space=BASE | {"optimizer_config": {"lr": tune.grid_search([0.05, 0.2])}},
        tune_config=tune.TuneConfig(metric="val_loss", mode="min", reuse_actors=True, scheduler=scheduler),
        run_config=tune.RunConfig(storage_path=str(folder), name=name, verbose=0, callbacks=[curves]),
    ).fit()
    return results, curves


def test_in_one_reused_actor_paused_every_epoch_curves_are_the_same(
    one_core: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained through, or restored from a checkpoint at every epoch: equal to the last bit."""
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    results, straight = fit(tmp_path, "straight")
    _, paused = fit(tmp_path, "paused", PauseOften())
    assert not results.errors
    assert {len(curve) for curve in straight.curves.values()} == {BASE["epochs"]}
    assert all(math.isfinite(loss) for curve in straight.curves.values() for loss in curve)
    assert paused.curves == straight.curves
    assert len(straight.processes) == len(paused.processes) == 1
