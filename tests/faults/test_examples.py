"""Every example of examples/ that is a sweep runs, in small, from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[2]
SWEEPS = sorted((CLONE / "examples").glob("*.yaml"))


@pytest.mark.ray
@pytest.mark.nightly
@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda sweep: sweep.stem)
def test_an_example_runs_and_is_resumed_with_more_epochs(sweep: Path, tmp_path: Path) -> None:
    """Extended by an epoch, its trials go on from their checkpoints."""
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"

    def launch(*words: str) -> None:
        command = [sys.executable, str(CLONE / "launch.py"), *words, "--runs", str(tmp_path)]
        environment = {**os.environ, "MLFLOW_TRACKING_URI": store}
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def status() -> dict[str, object]:
        state: dict[str, object] = json.loads((tmp_path / "small" / "status.json").read_text())
        return state

    fifo = "trial_scheduler=schedulers.FIFO"
    small = ("trials=2", "run.epochs=2", "run.checkpoint_config.enabled=true", fifo)
    launch("run", str(sweep), "--name", "small", "--set", *small)
    before = status()
    launch("extend", "small", "--epochs", "3")
    after = status()
    assert before["epochs"] == 4
    assert after["epochs"] == 6
