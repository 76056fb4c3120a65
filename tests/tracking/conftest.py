"""Real stores: a SQLite file migrated once and copied, and a real `mlflow server` for some tests."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from raysweep.study.journal.log import Journal
from raysweep.tracking import SweepFacts, Tracker, store_uri


@pytest.fixture(scope="session")
def mlflow_imported() -> Any:
    """Imported once, for the tests that need it."""
    import mlflow.tracking

    return mlflow


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory, mlflow_imported: Any) -> Path:
    """A store's empty tables; making them takes two seconds."""
    folder = tmp_path_factory.mktemp("store")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow_imported.tracking.MlflowClient(store_uri(None, {}, folder)).search_experiments()
    return folder / "mlflow.db"


@dataclass
class Shelf:
    """A study's folder with its journal, the store beside it, and what the store holds."""

    folder: Path
    mlflow: Any
    uri: str
    facts: SweepFacts

    def write(self, events: list[Any]) -> None:
        """Append events to the journal, as an attempt would."""
        journal = Journal(self.folder / "journal", self.facts.study)
        for event in events:
            journal.append(event)
        journal.close()

    def tracker(self, **options: Any) -> Tracker:
        """A tracker as a new process would make it, with short waits."""
        options = {"facts": self.facts, "uri": self.uri, "retry_s": (0.02, 0.1)} | options
        return Tracker(self.folder, options.pop("facts"), **options)  # type: ignore[arg-type]

    def track(self, events: list[Any], **options: Any) -> Tracker:
        """One attempt with its tracking process: `events` happen, and MLflow has them in the end."""
        self.write(events)
        tracker = self.tracker(**options)
        assert tracker.finish(60) == 0, tracker.trouble
        return tracker

    @property
    def client(self) -> Any:
        return self.mlflow.tracking.MlflowClient(self.uri)

    def runs(self) -> dict[str, Any]:
        """Trial id ("" for the sweep) -> run; no trial may have two."""
        experiment = self.client.get_experiment_by_name(self.facts.experiment)
        mlflow_runs = self.client.search_runs([experiment.experiment_id])
        runs = {run.data.tags.get("trial", ""): run for run in mlflow_runs}
        assert len(runs) == len(mlflow_runs), "a trial has more than one run"
        return runs

    def history(self, trial: str, metric: str) -> list[Any]:
        """(step, value) of a trial's metric."""
        points = self.client.get_metric_history(self.runs()[trial].info.run_id, metric)
        return sorted((point.step, point.value) for point in points)


@pytest.fixture
def facts() -> SweepFacts:
    return SweepFacts(
        "digits",
        "Project",
        parameters=("optimizer_config.lr", "net_config.layers"),
        log_scaled=("optimizer_config.lr",),
        settings={"sampler": "optuna.samplers.TPESampler", "trials": 2},
        sweep_yaml="study_name: digits\n",
        data="trainables.data.load_digits",
    )


@pytest.fixture
def shelf(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    migrated: Path,
    mlflow_imported: Any,
    facts: SweepFacts,
) -> Shelf:
    monkeypatch.chdir(tmp_path)  # artifacts go to ./mlruns
    shutil.copy(migrated, tmp_path / "mlflow.db")
    folder = tmp_path / "runs" / "digits"
    folder.mkdir(parents=True)
    return Shelf(folder, mlflow_imported, store_uri(None, {}, tmp_path), facts)


@dataclass
class Server:
    """A real `mlflow server` that can be killed and brought up again on its port."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)]
        command += ["--backend-store-uri", store_uri(None, {}, self.folder)]
        # Its jobs would be seven more processes, and two gigabytes.
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        eventually(self.answers, timeout_s=90)

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
        except (OSError, urllib.error.HTTPError):
            return False
        return True

    def kill(self) -> None:
        """End its whole process group: uvicorn's workers outlive their parent."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
            eventually(lambda: not self.answers(), timeout_s=30)


@pytest.fixture
def server(tmp_path: Path, migrated: Path) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    server = Server(folder, port)
    yield server
    server.kill()


def eventually(holds: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait until it holds; other threads and processes are at work."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.02)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., None]:
    return eventually
