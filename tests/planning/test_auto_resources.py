"""The resources chosen for a trial from memory, cores, GPUs and epochs timed in parallel."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import launch
from raysweep.config import SweepError
from raysweep.planning.auto_resources import choose_resources
from raysweep.preflight.check import PreflightFailed
from raysweep.preflight.preflight import TrialSlots
from raysweep.study.storage.layout import StudyFolder
from tests.sound_sweep import Read
from trainables.data import Data
from trainables.dry_run_report import DryRunReport

AUTO = ("resources_per_trial=auto",)
RAN = DryRunReport("ran", epoch_s=1.0, train_losses=(1.0, 0.5), memory_mb=1000)
GPU_MB = 80_000


def place(
    *, cpus: int, gpus: int = 0, memory_mb: float = 1000, free_mb: float = 1e6, slows: Callable[[int], float]
) -> TrialSlots:
    """Trial slots on a machine where an epoch takes `slows(n)` times as long beside n - 1 others."""

    def dry_run(configs: list[Any], data: Data, *, gpu: float, at_once: int, limit_s: float) -> list[Any]:
        one = replace(RAN, epoch_s=slows(min(at_once, len(configs))), memory_mb=memory_mb)
        return [replace(one, gpu_mb=GPU_MB if gpu else 0.0) for _ in configs]

    return TrialSlots(1, gpus, min(gpus, 1.0), cpus, dry_run=dry_run, free_mb=lambda: free_mb)


def free(beside: int) -> float:
    """Trials do not slow each other down."""
    return 1.0


def in_turn(beside: int) -> float:
    """Trials wait for each other, and lose some time."""
    return 1.0 if beside == 1 else 1.5 * beside


@pytest.mark.parametrize(
    ("kwargs", "cpu", "gpu"),
    [
        ({"cpus": 8, "slows": free}, 1, 0),
        ({"cpus": 8, "slows": free, "free_mb": 3700}, 2.66, 0),  # three of 1,200 MiB, on 8 cores
        ({"cpus": 8, "slows": in_turn}, 8, 0),
        ({"cpus": 8, "slows": lambda n: 1.0 if n <= 4 else 2.0 * n}, 2, 0),  # four real cores
        ({"cpus": 8, "slows": lambda n: 0.001 * n}, 1, 0),  # too short to say
        ({"cpus": 16, "gpus": 1, "slows": free, "memory_mb": 30_000}, 1, 0.5),
        ({"cpus": 16, "gpus": 1, "slows": free}, 1, 0.0625),  # 16 cores feed 16, memory would hold 20
        ({"cpus": 16, "gpus": 1, "slows": in_turn}, 1, 1.0),  # one keeps it busy
        ({"cpus": 16, "gpus": 2, "slows": free, "memory_mb": 5000}, 1, 0.125),  # eight cores for each
    ],
)
def test_a_trial_gets_what_lets_the_most_be_done(
    read: Read, kwargs: dict[str, Any], cpu: float, gpu: float
) -> None:
    sweep, why = choose_resources(read(AUTO).sweep, place(**kwargs))
    share = sweep.resources_per_trial
    assert (share.cpu, share.gpu, share.auto) == (cpu, gpu, False)
    assert f"{cpu:g} CPU" in why


def test_what_no_machine_holds_is_refused(read: Read) -> None:
    with pytest.raises(PreflightFailed, match="takes up to 1200 MiB, 900 are available: not one fits"):
        choose_resources(read(AUTO).sweep, place(cpus=2, slows=free, free_mb=900))


def test_where_no_configuration_runs_nothing_is_chosen(read: Read) -> None:
    broken = replace(
        place(cpus=2, slows=free),
        dry_run=lambda configs, *_, **__: [DryRunReport("failed", "E: x")] * len(configs),
    )
    with pytest.raises(PreflightFailed, match="auto: no configuration runs: E: x"):
        choose_resources(read(AUTO).sweep, broken)


def test_what_the_file_says_itself_stays(read: Read) -> None:
    sweep = read(["resources_per_trial={cpu: 2}"]).sweep
    assert choose_resources(sweep, place(cpus=2, slows=free)) == (sweep, "")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("{auto: true, cpu: 2}", "cpu: is chosen by 'auto'"),
        ("{auto: true, gpu: 0.5}", "gpu: is chosen by 'auto'"),
        ("atuo", "'atuo' is no share of a machine; write 'auto', or cpu and gpu"),
    ],
)
def test_auto_is_all_or_nothing(read: Read, word: str, message: Any) -> None:
    with pytest.raises(SweepError, match=message):
        read([f"resources_per_trial={word}"])


@pytest.mark.ray
@pytest.mark.nightly
def test_a_run_records_what_it_chose_so_that_a_resume_uses_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measures resources and budget together on this machine."""
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(
        "study_name: chosen\nresources_per_trial: auto\nbudget: {epochs: 12}\n"
        "run: {data: trainables.data.load_diabetes, epochs: 2, scheduler: null}\n"
        "search_space: {optimizer_config: {lr: {type: float, min: 1.e-4, max: 1.e-2, log: true}}}\n"
    )
    assert launch.main(["run", "s.yaml", "--local"]) == 0
    folder = StudyFolder.open(tmp_path / "runs/chosen")
    chosen = json.loads(folder.chosen_file.read_text())
    output = capsys.readouterr().err
    assert [f"{key}: {why}" in output for key, why in chosen.items()] == [True, True]
    sweep = folder.sweep()
    assert not sweep.resources_per_trial.auto
    assert sweep.budget is None
    assert sweep.trials * sweep.run.epochs <= 12
