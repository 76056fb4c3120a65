"""A study's tables: rows, and the files that `launch.py export` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import launch
from raysweep.config import Sweep
from raysweep.report.dataframes import curves_table, trials_table
from raysweep.study.journal.events import AttemptStarted
from raysweep.study.journal.log import Journal
from raysweep.study.storage.layout import StudyFolder
from tests.builders import epoch_reported, trial_created, trial_ended

CONFIGS: tuple[dict[str, Any], ...] = (
    {"net_config.widths": [8, 8], "net_config.norm": "batch", "optimizer_config.lr": 0.1},
    {"net_config.widths": [16], "net_config.norm": 3, "optimizer_config.lr": 0.2},
)


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    """Trial 0 completed, best at its first epoch; trial 1 failed before its first."""
    sweep = Sweep.model_validate(
        {
            "study_name": "tables",
            "objective": "best",
            "run": {"data": "trainables.data.load_digits", "scheduler": None},
        }
    )
    folder = StudyFolder.create(tmp_path, "tables", sweep, "")
    journal = Journal(folder.journal_dir, "tables")
    journal.append(AttemptStarted(t=0, attempt=1, slots=1, trials=2))
    for number, config in enumerate(CONFIGS):
        journal.append(trial_created(f"0000{number}", config, t=1))
    for epoch, loss in ((1, 0.25), (2, 0.5)):
        journal.append(epoch_reported("00000", epoch, loss, t=1 + epoch, metrics={"val_loss": loss}))
    journal.append(trial_ended("00000", "completed", "finished", t=4))
    journal.append(trial_ended("00001", "failed", 'said "no", then died', t=4))
    journal.close()
    return folder


def test_the_value_is_the_objectives_and_the_metrics_those_of_its_epoch(study: StudyFolder) -> None:
    row = trials_table(study).iloc[0]
    assert (row["value"], row["epoch"], row["epochs_run"], row["val_loss"]) == (0.25, 1, 2, 0.25)


def test_a_trial_that_never_reported_has_no_value(study: StudyFolder) -> None:
    row = trials_table(study).iloc[1]
    assert pd.isna(row["value"])
    assert (row["epoch"], row["status"], row["reason"]) == (0, "failed", 'said "no", then died')


def test_a_study_without_trials_has_empty_tables(tmp_path: Path, study: StudyFolder) -> None:
    folder = StudyFolder.create(tmp_path, "none", study.stored_sweep(), "")
    assert (len(trials_table(folder)), len(curves_table(folder))) == (0, 0)
    assert "status" in trials_table(folder).columns


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_each_form_holds_the_same(
    form: str, study: StudyFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(["export", str(study.path), f"--{form}", "-o", str(tmp_path / "out")]) == 0
    paths = [tmp_path / "out" / f"{name}.{form}" for name in ("trials", "curves")]
    assert capsys.readouterr().out.splitlines() == [str(path) for path in paths]
    assert sorted((tmp_path / "out").iterdir()) == sorted(paths)
    read: Any = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}[form]
    trials, curves = map(read, paths)
    assert trials["reason"].to_list() == ["finished", 'said "no", then died']
    assert trials["optimizer_config.lr"].to_list() == [0.1, 0.2]
    widths = trials["net_config.widths"].map(lambda value: json.loads(value) if form != "json" else value)
    assert [list(value) for value in widths] == [[8, 8], [16]]
    assert curves["val_loss"].to_list() == [0.25, 0.5]


def test_json_has_null_for_what_is_not_known(study: StudyFolder) -> None:
    assert launch.main(["export", str(study.path), "--json"]) == 0
    rows = json.loads((study.path / "export" / "trials.json").read_text())
    assert rows[1]["value"] is None
    assert rows[0]["ended"].startswith("1970-01-01T00:00:04")
