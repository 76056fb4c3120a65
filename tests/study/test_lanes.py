"""A study whose trials share processes, on a real Ray."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raysweep.cluster.embedded import embedded_ray
from raysweep.config import Sweep
from raysweep.config.trial_config import trial_config
from raysweep.study.execution.controller import Finish
from raysweep.study.execution.run_plan import RunPlan
from raysweep.study.execution.shutdown import StopSignal
from raysweep.study.journal.events import EpochReported, Event, Subscriber, TrialRecovered
from raysweep.study.journal.log import read_events
from raysweep.study.storage.layout import StudyFolder
from tests.builders import LR, small_sweep
from trainables.data import load
from trainables.trial import Trial

pytestmark = pytest.mark.ray
EPOCHS = 6
SPACE = {
    LR: {"type": "float", "min": 1e-3, "max": 1.0, "log": True},
    "net_config.kind": {"type": "categorical", "choices": ["sound", "hangs", "kills"]},
}


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with embedded_ray():
        yield


@pytest.fixture
def conduct(tmp_path: Path) -> Callable[..., Finish]:
    """Run a sweep in two processes of three lanes."""
    from raysweep.study.execution.tuner import run_tuner

    def run(sweep: Sweep, *ears: Subscriber) -> Finish:
        folder = StudyFolder(tmp_path / "lanes")
        StudyFolder.create(tmp_path, "lanes", sweep, "")
        plan = RunPlan(sweep, folder, 6, {"cpu": 0.3, "gpu": 0.0}, data=load(sweep.run), lanes=3)
        return run_tuner(plan, stop=StopSignal(), subscribers=ears)

    return run


def epochs_of(folder: Path) -> list[EpochReported]:
    return [e for e in read_events(folder / "journal") if isinstance(e, EpochReported)]


def test_a_sweep_in_lanes_has_the_losses_of_each_trial_alone(
    tmp_path: Path, conduct: Callable[..., Finish]
) -> None:
    sampler = {"name": "optuna.samplers.RandomSampler"}
    run = {
        "data": "trainables.data.load_diabetes",
        "epochs": EPOCHS,
        "net_config": {"nodes": 8, "layers": 2},
        "optimizer_config": {"lr": 0.1},
        "scheduler": None,
        "batch_size": 64,
    }
    sweep = small_sweep(8, run=run, sampler=sampler)
    finish = conduct(sweep)
    assert finish.record.counts() == {"completed": 8}
    epochs = epochs_of(tmp_path / "lanes")
    assert len(Counter(epoch.worker for epoch in epochs)) == 2
    data = load(sweep.run)
    for name, record in finish.record.trials.items():
        alone = Trial(data)
        alone.begin(trial_config(sweep, record.config, name), 0.0)
        losses = [alone.step()["val_loss"] for _ in range(EPOCHS)]
        assert [epoch.loss for epoch in epochs if epoch.trial == name] == losses


def toys(tmp_path: Path, *kinds: str, step_s: float = 0.02, **words: Any) -> Sweep:
    """Trials that do as their kinds say."""
    run = {
        "data": "trainables.data.load_diabetes",
        "train": "tests.study.toy.train",
        "epochs": EPOCHS,
        "optimizer_config": {"lr": 0.1},
        "net_config": {"mark": str(tmp_path / "mark"), "kills_at": 0.5, "step_s": step_s},
    }
    kills = {"net_config.kind": "sound", LR: 0.5}
    points = [
        kills if kind == "always kills" else {"net_config.kind": kind, LR: 0.1 + n / 1000}
        for n, kind in enumerate(kinds)
    ]
    paths = [str(Path(__file__).parents[2])]
    sampler = {"name": "optuna.samplers.RandomSampler"}
    return small_sweep(
        len(kinds),
        run=run,
        search_space=SPACE,
        points_to_evaluate=points,
        baseline=False,
        import_paths=paths,
        sampler=sampler,
        **words,
    )


@pytest.mark.faults
def test_a_killed_host_loses_no_reported_epoch_and_doubles_none(
    tmp_path: Path, conduct: Callable[..., Finish]
) -> None:
    finish = conduct(toys(tmp_path, "sound", "kills", *["sound"] * 4))
    assert finish.record.counts() == {"completed": 6}
    counted = [(e.trial, e.epoch) for e in epochs_of(tmp_path / "lanes") if not e.again]
    assert sorted(counted) == [(f"0000{n}", epoch) for n in range(6) for epoch in range(1, EPOCHS + 1)]
    lost = [e for e in read_events(tmp_path / "lanes/journal") if isinstance(e, TrialRecovered)]
    assert 1 <= len(lost) <= 3  # the trials of one process


@pytest.mark.faults
def test_a_hung_lane_ends_with_its_reason_and_the_others_go_on(
    tmp_path: Path, conduct: Callable[..., Finish]
) -> None:
    finish = conduct(toys(tmp_path, "sound", "hangs", *["sound"] * 4, trial_timeout_s=8))
    assert finish.record.counts() == {"completed": 5, "failed": 1}
    reason = "no epoch in 8 s (trial_timeout_s): it hangs, or it is too slow"
    assert finish.record.trials["00001"].reason == reason


@pytest.mark.faults
def test_a_lane_that_kills_each_process_ends_and_the_others_go_on(
    tmp_path: Path, conduct: Callable[..., Finish]
) -> None:
    finish = conduct(toys(tmp_path, "sound", "always kills", "sound", "sound"))
    assert finish.record.counts() == {"completed": 3, "failed": 1}
    assert finish.record.trials["00001"].reason == "lost its worker 3 times without a new epoch"


@pytest.mark.faults
def test_a_host_with_a_sigterm_saves_each_lane_and_runs_no_epoch_again(
    tmp_path: Path, conduct: Callable[..., Finish]
) -> None:
    run_epochs: list[int] = []

    def terminate_the_first(event: Event) -> None:
        if isinstance(event, EpochReported) and not run_epochs:
            run_epochs.append(int(event.worker.rpartition(":")[2]))
            os.kill(run_epochs[0], signal.SIGTERM)

    finish = conduct(toys(tmp_path, *["sound"] * 6, step_s=0.3), terminate_the_first)
    assert finish.record.counts() == {"completed": 6}
    epochs = epochs_of(tmp_path / "lanes")
    assert not [epoch for epoch in epochs if epoch.again]
    assert len(epochs) == 6 * EPOCHS
    lost = [e for e in read_events(tmp_path / "lanes/journal") if isinstance(e, TrialRecovered)]
    assert lost
    assert all(event.terminated for event in lost)
