"""From a study to a model somebody can use: best, retrain, predict, reproduce, as typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import launch
from raysweep.config import Sweep
from raysweep.study.journal.events import (
    AttemptEnded,
    AttemptStarted,
    EpochReported,
    TrialCreated,
    TrialEnded,
)
from raysweep.study.journal.log import Journal, read_events
from raysweep.study.journal.records import fold
from raysweep.study.journal.status_file import read_status
from raysweep.study.results.test_set_access import list_test_set_accesses
from raysweep.study.storage.layout import StudyFolder
from raysweep.tracking.cursor import Cursor
from raysweep.tracking.model_registry import register_once
from trainables.model import Model
from trainables.run_config import overlay

ROOT = Path(__file__).resolve().parents[1]
LR = "optimizer_config.lr"
RUN: dict[str, Any] = {
    "data": "trainables.data.load_diabetes",
    "net_config": {"nodes": 8, "layers": 1},
    "optimizer": "torch.optim.AdamW",
    "optimizer_config": {"lr": 1e-4},
    "scheduler": "torch.optim.lr_scheduler.CosineAnnealingLR",
    "scheduler_config": {"T_max": 2},
    "epochs": 2,
    "batch_size": 64,
}


def make_study(root: Path, outcome: Any = "completed") -> StudyFolder:
    """A study of two trials whose curves are those that their configurations really give."""
    from trainables.trial import Trial

    sweep = Sweep.model_validate(
        {
            "study_name": "small",
            "trials": 2,
            "run": RUN,
            "search_space": {LR: {"type": "float", "min": 1e-5, "max": 1.0, "log": True}},
            "import_paths": [str(ROOT)],
        }
    )
    folder = StudyFolder.create(root, "small", sweep, "")
    journal = Journal(folder.journal_dir, "small")
    journal.append(AttemptStarted(t=0, attempt=1, slots=1, trials=2, provenance={"host": "elsewhere"}))
    for number, lr in enumerate((1e-2, 1e-1)):
        name, trial = f"0000{number}", Trial()
        journal.append(TrialCreated(t=1, trial=name, config={LR: lr}, source="sampler"))
        trial.begin(overlay(RUN, {LR: lr}) | {"trial": {"id": name}}, gpu_share=0)
        for epoch in (1, 2):
            result = trial.step()
            metrics = {key: result[key] for key in ("val_loss", "train_loss", "lr", "epoch_s")}
            journal.append(
                EpochReported(
                    t=2,
                    trial=name,
                    generation=0,
                    epoch=epoch,
                    work=epoch,
                    loss=metrics["val_loss"],
                    metrics=metrics,
                    decision="continue",
                )
            )
        journal.append(TrialEnded(t=3, trial=name, outcome=outcome, reason="r"))
    journal.append(AttemptEnded(t=4, attempt=1, exit_code=0, reason=""))
    journal.close()
    return folder


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    monkeypatch.chdir(tmp_path)
    return make_study(tmp_path / "runs")


def test_best_prints_a_file_that_check_finds_sound(
    study: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(["best", "small"]) == 0
    text = capsys.readouterr().out
    Path("best.yaml").write_text(text)
    assert yaml.safe_load(text)["optimizer_config"]["lr"] == 1e-1
    assert launch.main(["check", "best.yaml"]) == 0
    assert capsys.readouterr().err == ""


def test_best_as_json_of_another_trial(study: StudyFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["best", "small", "--trial", "0", "--epochs", "7", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert (run["optimizer_config"]["lr"], run["epochs"], run["scheduler_config"]["T_max"]) == (1e-2, 7, 7)


@pytest.mark.parametrize("command", [["best"], ["retrain"]])
def test_without_a_success_there_is_no_winner_and_exit_4(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_study(tmp_path / "runs", outcome="failed")
    assert launch.main([*command, "small"]) == 4
    assert capsys.readouterr().err.startswith("small: no trial has succeeded")


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (["best", "nothing"], 2, "runs: holds no study 'nothing'"),
        (["best", "small", "--trial", "9"], 4, "small: no trial 9; there are 2, from 0"),
        (["reproduce", "small", "9"], 4, "small: no trial 9; there are 2, from 0"),
        (["retrain", "small", "--set", "epochs=none"], 2, "--set epochs: 'none' is no whole number above 0"),
        (["retrain", "nothing.yaml"], 2, "nothing.yaml: cannot be read: No such file"),
        (["predict", "nowhere", "table.csv"], 2, "nowhere: holds no model (no model.json)"),
    ],
)
def test_what_cannot_be_is_one_line(
    study: StudyFolder, args: list[str], code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(args) == code
    errors = capsys.readouterr().err.replace(f"{Path.cwd()}/", "").splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(line)


def test_a_trial_is_the_same_to_the_last_bit(study: StudyFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["reproduce", "small", "1"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "trial 1: 2 epochs, bit for bit" in out
    assert "host: elsewhere then" in out


def test_a_store_that_is_away_is_said_and_tried_again(tmp_path: Path) -> None:
    """The model is kept; nothing fails for MLflow's sake."""
    Cursor(parent="r1").save(tmp_path / "tracking.json")
    result = {"model_seed": 1, "standings": [{"what": "trial 1"}], "val": None, "test": None}
    message, trouble = register_once(tmp_path, "small", "http://127.0.0.1:9", result)
    assert message == ""
    assert trouble.startswith("not yet: http://127.0.0.1:9 does not answer")
    assert not (tmp_path / "registered.json").exists()


def command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *args], capture_output=True, text=True, check=False
    )


@pytest.mark.ray
def test_a_retraining_ends_in_a_tested_and_registered_model(study: StudyFolder) -> None:
    """One command: a race on Ray, one look at the test rows, a model that scores a table."""
    done = command("retrain", "small", "--top-k", "1", "--seeds", "2", "--set", "epochs=3")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("winner", "test", "model", "models:/small/1"):
        assert word in done.stdout
    folder = StudyFolder.open(study.path / "retrain")
    record = fold(read_events(folder.journal_dir))
    assert {
        (trial.config["trial.candidate"], trial.config["trial.seed"]) for trial in record.trials.values()
    } == {(name, seed) for name in ("t1", "baseline") for seed in (58, 89)}
    assert record.counts() == {"completed": 4}
    assert record.epochs == 12
    losses = {point.loss for trial in record.trials.values() for point in trial.curve}
    assert len(losses) == 12, "every training has its own seed"
    assert read_status(folder.path)["state"] == "done"
    result = json.loads((folder.path / "retrain.json").read_text())
    assert len(result["test"]["members"]) == 2
    assert len(list_test_set_accesses(study.path)) == 1
    again = command("retrain", "small")
    assert (again.returncode, len(list_test_set_accesses(study.path))) == (0, 1), (
        "what is known is shown, the door stays shut"
    )
    _scores_a_table(folder.path / "model")
    _is_in_mlflow(folder)


def _scores_a_table(model: Path) -> None:
    table = Path("patients.csv")
    pd.DataFrame({f"x{i}": [0.1, 0.2] for i in range(10)}).to_csv(table, index=False)
    done = command("predict", "small", str(table), "-o", "out.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert pd.read_csv("out.csv")["y"].notna().sum() == 2
    done = command("predict", "small", str(table), "--ensemble", "-o", "both.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(Model.load(model.parent / "ensemble").nets) == 2
    assert (pd.read_csv("both.csv")["y"] != pd.read_csv("out.csv")["y"]).all()
    assert "## Limits" in (model / "MODEL_CARD.md").read_text()


def _is_in_mlflow(folder: StudyFolder) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    version = client.get_model_version("small", "1")
    assert {"val_loss", "test_loss", "seed"} <= version.tags.keys()
    parent = client.get_run(version.run_id)
    assert {"winner_mean_val_loss", "test_loss", "ensemble_test_loss"} <= parent.data.metrics.keys()
    assert "MODEL_CARD.md" in {file.path for file in client.list_artifacts(version.run_id)}
    children = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{version.run_id}'"
    )
    assert {run.data.params["trial.seed"] for run in children} == {"58", "89"}
