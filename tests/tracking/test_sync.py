"""`launch.py sync STUDY`: what MLflow still lacks is sent, and it is said what was."""

from __future__ import annotations

from pathlib import Path

import pytest

import launch
from raysweep.study.journal.log import Journal
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.lock import lock
from raysweep.tracking import count_unsent
from tests.builders import small_sweep
from tests.tracking.conftest import Shelf
from tests.tracking.story import two_trials


@pytest.fixture
def study(shelf: Shelf) -> Path:
    """A study that has ended, of which no store has heard."""
    folder = StudyFolder.create(shelf.folder.parent, "small", small_sweep(), "study_name: small\n")
    journal = Journal(folder.journal_dir, "small")
    for event in two_trials():
        journal.append(event)
    journal.close()
    return folder.path


def test_the_backlog_is_kept_while_the_store_is_away_and_then_sent(
    study: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 as long as MLflow lacks something, then 0."""
    events = len(two_trials())
    messages = []
    for uri, code in (("http://127.0.0.1:9", 1), (shelf.uri, 0)):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert launch.main(["sync", str(study)]) == code
        messages.append(capsys.readouterr().out.strip().splitlines())
    assert messages[0][-1] == f"small: {events} events were missing in MLflow, {events} still are"
    assert f"launch.py sync {study.relative_to(Path.cwd())}` sends them" in messages[0][-2]
    assert messages[1][-1] == f"small: {events} events were missing in MLflow, 0 still are"
    assert count_unsent(study, shelf.uri) == (0, "")
    experiment = shelf.client.get_experiment_by_name(small_sweep().experiment)
    runs = shelf.client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags.get("trial", "") for run in runs) == ["", "00000", "00001"]
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_of_a_study_that_runs_the_driver_tells_mlflow(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock(study / "lock", "launch.py run"):
        assert launch.main(["sync", str(study)]) == 2
    assert "is in use by 'launch.py run'" in capsys.readouterr().err
