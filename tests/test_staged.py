"""A staged sweep as typed: stopped in its second stage, carried on, looked at, and in MLflow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import launch
from raysweep.config import read_sweep
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from raysweep.study.journal.status_file import read_status
from raysweep.study.storage.layout import StudyFolder

ROOT = Path(__file__).resolve().parents[1]
SWEEP = """\
study_name: tiny
trials: 3
ignore_advice: [few_trials, few_startup_trials, log_scale]
sampler: {name: optuna.samplers.RandomSampler}
run:
  data: trainables.data.load_digits
  optimizer: torch.optim.AdamW
  optimizer_config: {lr: 1e-3, weight_decay: 0.01}
  scheduler: null
  criterion: torch.nn.CrossEntropyLoss
  net_config: {nodes: 8, layers: 1}
  epochs: 2
search_space:
  optimizer_config:
    lr: {type: float, min: 1e-5, max: 1e+0, log: true}
    weight_decay: {type: float, min: 0.0, max: 0.1}
stages:
  - lr_range
  - {name: rate, kind: explore, tune: [optimizer_config.lr]}
  - {name: refine, top: 2, run: {epochs: 30}}
  - {name: validate, top: 1, seeds: 2}
"""
STUDY = Path("runs/tiny")


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("tiny.yaml")
    path.write_text(SWEEP)
    return path


def command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *args], capture_output=True, text=True, check=False
    )


def begun(*args: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "launch.py"), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def wait_for(process: subprocess.Popen[str], holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 400
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def epochs_of(stage: str) -> int:
    journal = STUDY / "stages" / stage / "journal"
    return fold(read_events(journal)).epochs if journal.exists() else 0


def test_a_dry_run_shows_every_stage_and_leaves_nothing(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main([str(sweep), "--dry-run", "--set", "trials=7"]) == 0
    shown = capsys.readouterr().out
    for words in (
        "finds the learning rates worth searching",
        "7 trials of at most 2 epochs: 14 in all",
        "7 trials of at most 30 epochs: 210 in all",
        "4 trainings of 30 epochs at most: 120 in all",
    ):
        assert words in shown
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "args",
    [
        ["extend", "tiny", "--trials", "+2"],
        ["replay", "tiny", "--trial-scheduler", "schedulers.ASHA"],
        ["reproduce", "tiny", "1"],
        ["compare", "tiny", "tiny"],
    ],
)
def test_what_belongs_to_one_stage_is_told_their_names(
    args: list[str], sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    StudyFolder.create(Path("runs"), "tiny", read_sweep(sweep).sweep, SWEEP)
    assert launch.main(args) == 2
    named = ", ".join(str(STUDY / "stages" / name) for name in ("rate", "refine", "validate"))
    assert capsys.readouterr().err == f"tiny has stages, each a study of its own; name one: {named}\n"


@pytest.mark.parametrize("args", [["best", "tiny"], ["retrain", "tiny"]])
def test_before_any_trial_there_is_no_winner(
    args: list[str], sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    StudyFolder.create(Path("runs"), "tiny", read_sweep(sweep).sweep, SWEEP)
    assert launch.main(args) == 4
    assert capsys.readouterr().err.startswith("tiny: no trial ")


@pytest.mark.faults  # a minute and more: two Rays and seven starts of trial processes
@pytest.mark.timeout(900)
def test_stopped_in_its_second_search_it_goes_on_to_a_proven_winner(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = begun(str(sweep))
    wait_for(process, lambda: epochs_of("refine") >= 3)
    journal = next((STUDY / "stages" / "rate" / "journal").glob("*.jsonl"))
    over = journal.read_bytes()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 130, err
    assert "launch.py resume runs/tiny\n" in out
    status = read_status(STUDY)
    assert [one["state"] for one in status["stages"]] == ["done", "done", "interrupted", "waiting"]
    assert (status["state"], status["stage"], status["best"]["stage"]) == ("interrupted", "refine", "refine")  # type: ignore[index]

    done = command("resume", "tiny")
    assert (done.returncode, done.stderr) == (0, "")
    assert journal.read_bytes() == over, "a stage that is over is never run again"
    refined = fold(read_events(STUDY / "stages" / "refine" / "journal"))
    assert (refined.counts(), refined.epochs, refined.attempts) == ({"completed": 3}, 90, 2)
    raced = fold(read_events(STUDY / "stages" / "validate" / "journal"))
    assert raced.counts() == {"completed": 4}
    status = read_status(STUDY)
    assert (status["state"], status["trials"]["completed"]) == ("done", 3 + 3 + 4)
    assert (status["best"]["status"], status["best"]["seeds"]) == ("validated", 2)  # type: ignore[index]
    best = (STUDY / "best.yaml").read_text()
    assert best.startswith("# study tiny, stage validate: ")
    _is_nested_in_mlflow()
    _can_be_reported(capsys)


def _is_nested_in_mlflow() -> None:
    """Umbrella -> stages -> trials, nothing left open."""
    from mlflow import MlflowClient

    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = {run.info.run_id: run for run in client.search_runs(experiments)}
    names = {key: run.info.run_name for key, run in runs.items()}
    under: dict[str, list[str]] = {}
    for run in runs.values():
        parent = run.data.tags.get("mlflow.parentRunId")
        under.setdefault(names[parent] if parent else "", []).append(run.info.run_name)
    mine = {name: children for name, children in under.items() if name.startswith("tiny")}
    assert sorted(mine["tiny"]) == ["tiny_rate", "tiny_refine", "tiny_validate"]
    assert {name: len(children) for name, children in mine.items()} == {
        "tiny": 3,
        "tiny_rate": 3,
        "tiny_refine": 3,
        "tiny_validate": 4,
    }
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    whole = next(run for run in runs.values() if run.info.run_name == "tiny")
    assert (whole.data.tags["stage"], whole.data.tags["state"]) == ("validate", "finished")
    assert "over 2 seeds: val_loss" in whole.data.tags["incumbent"]
    assert "optimizer_config.lr" in whole.data.tags["stage.refine.made_of"]


def _can_be_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["report", "tiny", "--no-mlflow"]) == 0
    shown = capsys.readouterr().out
    for stage in ("rate", "refine", "validate"):
        assert f"runs/tiny/stages/{stage}/report/report.html" in shown


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_killed_in_its_second_search_it_goes_on_there(sweep: Path) -> None:
    process = begun(str(sweep), "--set", "stages=[rate, refine]", "stages.rate.kind=explore")
    wait_for(process, lambda: epochs_of("refine") >= 3)
    process.kill()
    process.communicate()
    status = read_status(STUDY)
    assert (status["state"], status["stage"]) == ("interrupted", "refine")
    assert command("resume", "tiny").returncode == 0
    assert fold(read_events(STUDY / "stages" / "rate" / "journal")).attempts == 1
    refined = fold(read_events(STUDY / "stages" / "refine" / "journal"))
    assert (refined.counts(), refined.attempts) == ({"completed": 3}, 2)
