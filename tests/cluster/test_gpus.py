"""Trials on fake GPUs: Ray places them and shows each its own; nothing computes on one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import ray

from raysweep.cluster.embedded import QUIET
from raysweep.cluster.machine import Machine
from raysweep.config.sweep import Resources
from raysweep.study.execution.run_plan import RunPlan
from raysweep.study.execution.shutdown import StopSignal
from raysweep.study.journal.log import read_events
from raysweep.study.storage.layout import StudyFolder
from tests.builders import small_sweep
from tests.cluster.fake_gpu import OnFakeGpu

CLONE = Path(__file__).resolve().parents[2]
GPUS, SHARE, TRIALS = 2, 0.5, 6

pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.filterwarnings("default")]


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, float]]:
    """CUDA_VISIBLE_DEVICES of each trial, and when it trained."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    monkeypatch.setenv("PYTHONPATH", str(CLONE))
    monkeypatch.setattr("raysweep.study.execution.tuner.TorchTrainable", OnFakeGpu)
    asked = Resources(cpu=0.5, gpu=SHARE)
    run: dict[str, Any] = {
        "data": "trainables.data.load_digits",
        "train": "tests.cluster.fake_gpu.train",
        "epochs": 1,
        "optimizer_config": {"lr": 0.1},
        "net_config": {"out": str(tmp_path), "together": 4},
    }
    sweep = small_sweep(
        TRIALS, run=run, import_paths=[str(CLONE)], sampler={"name": "optuna.samplers.RandomSampler"}
    )
    folder = StudyFolder.create(tmp_path, "small", sweep, "")
    from raysweep.study.execution.tuner import run_tuner

    ray.init(address="local", num_cpus=4, num_gpus=GPUS, include_dashboard=False, log_to_driver=False)
    try:
        slots = Machine(4, GPUS).slots(asked)
        plan = RunPlan(sweep, folder, slots, {"cpu": asked.cpu, "gpu": SHARE})
        finish = run_tuner(plan, stop=StopSignal())
    finally:
        ray.shutdown()
    assert finish.exit_code == 0, list(read_events(folder.journal_dir))[-3:]
    lines = (tmp_path / "shown").read_text().splitlines()
    return [(device, float(begun), float(ended)) for device, begun, ended in map(str.split, lines)]


def test_half_a_gpu_each_puts_four_trials_on_two_gpus_two_on_each(
    shown: list[tuple[str, float, float]],
) -> None:
    assert len(shown) == TRIALS
    assert Counter(device for device, _, _ in shown).keys() == {"0", "1"}
    together = [
        Counter(device for device, begun, ended in shown if begun <= moment < ended) for _, moment, _ in shown
    ]
    assert max(count.total() for count in together) == 4
    assert max(max(count.values()) for count in together) == 2
