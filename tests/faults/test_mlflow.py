"""A real `mlflow server` that is down at the start, killed in mid-sweep, slow, and back again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.driver import after_epochs, curves, ended, record, said, start
from tests.faults.slow import slowly
from tests.faults.sweeps import write_sweep
from tests.tracking.conftest import Server

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
SLOW_S = 10.0  # a call; a sweep of two seconds is to it what one of minutes is to thirty


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server", port)
    yield server
    server.kill()


def test_a_server_that_comes_and_goes_changes_nothing_and_sync_ends_it(
    tmp_path: Path, server: Server
) -> None:
    """Two studies of one sweep: one meets a server that dies, one a slow one; then it is there and well."""
    for name in ("dies", "slow"):
        write_sweep(tmp_path, name, epochs=30)
    dies = start(tmp_path, "run", "dies.yaml", store=server.uri)  # down as it begins
    server.up()
    after_epochs(20, dies, tmp_path, tmp_path / "runs/dies")
    server.kill()
    assert ended(dies, tmp_path) == 0, said(tmp_path)
    assert "launch.py sync " in said(tmp_path)

    server.up()
    with slowly(server.port, SLOW_S) as uri:
        assert ended(start(tmp_path, "run", "slow.yaml", store=uri), tmp_path) == 0, said(tmp_path)
    assert said(tmp_path).count("launch.py sync ") == 2
    assert curves(tmp_path / "runs/dies") == curves(tmp_path / "runs/slow")
    for name in ("dies", "slow"):
        assert record(tmp_path / "runs" / name).counts() == {"completed": 4}
        assert ended(start(tmp_path, "sync", name, store=server.uri), tmp_path) == 0, said(tmp_path)

    from mlflow import MlflowClient

    client = MlflowClient(server.uri)
    runs = client.search_runs([client.get_experiment_by_name("faults").experiment_id])
    sweeps = {run.info.run_id: run.info.run_name for run in runs if "mlflow.parentRunId" not in run.data.tags}
    trials = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    pairs = [(sweeps[run.data.tags["mlflow.parentRunId"]], run.data.tags["trial"]) for run in trials]
    assert sorted(pairs) == [(name, f"0000{trial}") for name in ("dies", "slow") for trial in range(4)]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in trials:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "val_loss")]
        assert sorted(steps) == list(range(1, 31))
