"""A study stays in one MLflow store, wherever its commands are called from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raysweep.tracking import store_of
from raysweep.tracking.cursor import FILE, Cursor

HERE = Path("/elsewhere")
SERVER = "http://head:5000"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study that was sent to a local store, which exists."""
    (tmp_path / "mlflow.db").touch()
    folder = tmp_path / "runs" / "digits"
    folder.mkdir(parents=True)
    Cursor(uri=f"sqlite:///{tmp_path / 'mlflow.db'}").save(folder / FILE)
    return folder


@pytest.mark.parametrize("inner", [".", "retrain"])
def test_from_any_folder_a_study_stays_in_the_store_it_was_sent_to(
    study: Path, inner: str, tmp_path: Path
) -> None:
    assert store_of(None, {}, HERE, study / inner) == f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.mark.parametrize(("configured", "environ"), [(SERVER, {}), (None, {"MLFLOW_TRACKING_URI": SERVER})])
def test_the_sweep_file_and_the_environment_come_first(
    study: Path, configured: str | None, environ: dict[str, Any] | dict[str, str]
) -> None:
    assert store_of(configured, environ, HERE, study) == SERVER


def test_a_study_on_a_server_stays_there(study: Path) -> None:
    Cursor(uri=SERVER).save(study / FILE)
    assert store_of(None, {}, HERE, study) == SERVER


def test_a_local_store_that_did_not_come_along_is_none(study: Path, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").unlink()
    assert store_of(None, {}, HERE, study) == "sqlite:////elsewhere/mlflow.db"


def test_a_new_study_is_sent_to_the_store_of_the_working_folder(tmp_path: Path) -> None:
    assert store_of(None, {}, HERE, tmp_path / "runs" / "new") == "sqlite:////elsewhere/mlflow.db"
