"""A terminal that goes away takes no sweep along."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.driver import LAUNCH, NOBODY_LISTENS, ROOT, ended, said, start, wait_until
from tests.faults.sweeps import write_sweep

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def test_a_dropped_connection_ends_no_sweep_and_on_end_still_runs(tmp_path: Path) -> None:
    """The driver leads a terminal's session; the terminal is hung up, which is what sshd does then."""
    sweep = write_sweep(tmp_path, "hung_up", net={"seconds": 0.2}, on_end="echo $SWEEP_STATE > told")
    master, slave = pty.openpty()
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": NOBODY_LISTENS,
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
    }
    driver = subprocess.Popen(
        [sys.executable, "-c", LEADER, *LAUNCH, str(sweep), "--no-preflight"],
        cwd=tmp_path,
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    os.set_blocking(master, False)
    study = tmp_path / "runs/hung_up"
    (tmp_path / "log").touch()
    wait_until(lambda: drain(master) or list(study.glob("journal/*.jsonl")), driver, tmp_path)  # type: ignore[func-returns-value]
    os.close(master)
    assert ended(driver, tmp_path) == 0
    assert json.loads((study / "status.json").read_text())["trials"]["completed"] == 4
    assert (tmp_path / "told").read_text() == "done\n"


LEADER = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # from now on a hang-up of this terminal is ours to survive
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def drain(master: int) -> None:
    """Read what the terminal shows, or the driver would wait for somebody to."""
    try:
        os.read(master, 1 << 16)
    except BlockingIOError:
        return


def test_a_sigterm_before_the_first_trial_is_an_interruption_too(tmp_path: Path) -> None:
    """A batch system that ends a job while its data are read runs it again by that exit code."""
    slow = "import time, pathlib\n\ndef load():\n    pathlib.Path('begun').touch()\n    time.sleep(300)\n"
    (tmp_path / "slow_data.py").write_text(slow)
    run = {"data": "slow_data.load", "train": "tests.faults.loop.Loop", "epochs": 2}
    write_sweep(tmp_path, "early", run=run, search_space={})
    driver = start(tmp_path, "early.yaml")
    wait_until(lambda: (tmp_path / "begun").exists(), driver, tmp_path)
    driver.send_signal(signal.SIGTERM)
    assert ended(driver, tmp_path) == 130
    assert "Traceback" not in said(tmp_path)
