"""Files logged to a run that exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.tracking.attachments import attach, attach_to_study
from raysweep.tracking.store import Refused


def test_a_study_without_a_run_in_mlflow_is_reported(tmp_path: Path) -> None:
    assert attach_to_study(tmp_path, [], "report") == "MLflow has no run of this study"


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mlflow.db"


def test_files_go_to_the_run_and_a_run_that_is_gone_is_refused(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    client = MlflowClient(store)
    experiment = client.create_experiment("digits", artifact_location=(tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment).info.run_id
    file = tmp_path / "report.md"
    file.write_text("# seen")
    attach(store, experiment, run, [file], "report")
    assert [each.path for each in client.list_artifacts(run, "report")] == ["report/report.md"]
    client.delete_run(run)
    with pytest.raises(Refused, match="is gone"):
        attach(store, experiment, run, [file], "report")
