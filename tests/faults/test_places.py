"""A study stopped hard, copied elsewhere, damaged and carried on there; and one that may only be read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from raysweep.config import read_sweep
from raysweep.study.journal.events import TrialRecovered
from raysweep.study.journal.status_file import read_status
from raysweep.study.storage.layout import StudyFolder
from tests.faults.driver import ROOT, after_epochs, ended, events, record, reports, said, start
from tests.faults.sweeps import write_sweep

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
NOBODY = 65534


def test_a_study_aborted_copied_away_and_damaged_goes_on_at_its_new_place(tmp_path: Path) -> None:
    """Ctrl-C twice; the copy has its lock file and one torn checkpoint; the original is gone by then."""
    write_sweep(tmp_path, "sweep", trials=2, max_concurrent_trials=1, epochs=40)
    process = start(tmp_path, "run", "sweep.yaml")
    study = tmp_path / "runs/sweep"
    after_epochs(12, process, tmp_path, study)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert ended(process, tmp_path) == 130, said(tmp_path)
    before = reports(study)
    place = tmp_path / "elsewhere" / "moved"
    place.parent.mkdir()
    shutil.move(study, place)
    shutil.rmtree(tmp_path / "runs")
    newest = max(place.glob("ray/attempt-1/00000/checkpoint_*/training.pt"))
    newest.write_bytes(newest.read_bytes()[:-9])
    assert read_status(place)["state"] == "interrupted"

    assert ended(start(tmp_path, "resume", str(place), "--trust"), tmp_path) == 0, said(tmp_path)
    after = reports(place)
    assert list(map(repr, after[: len(before)])) == list(map(repr, before))  # a metric may be NaN
    assert [(event.trial, event.epoch) for event in after] == [
        (trial, epoch) for trial in ("00000", "00001") for epoch in range(1, 41)
    ]
    (recovered,) = [event for event in events(place) if isinstance(event, TrialRecovered)]
    assert recovered.error.startswith("damaged checkpoint: its epoch ")
    assert "; continues from its epoch " in recovered.error
    assert record(place).counts() == {"completed": 2}


def test_a_folder_that_may_only_be_read_is_one_line_and_status_still_works(tmp_path: Path) -> None:
    """As another user than root, whom no mode holds back."""
    write_sweep(tmp_path, "sweep")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        runs = Path(place) / "runs"
        sweep = read_sweep(tmp_path / "sweep.yaml").sweep
        StudyFolder.create(runs, "sweep", sweep, "")
        Path(place).chmod(0o755)
        for words, code, line in (
            (
                ["resume", "--trust", str(runs / "sweep")],
                6,
                f"{runs / 'sweep'}: cannot be written (Permission denied)",
            ),
            (["status", str(runs / "sweep")], 0, "state            interrupted"),
        ):
            done = as_nobody(*words)
            assert (done.returncode, line in done.stdout + done.stderr) == (code, True), done.stderr
            assert "Traceback" not in done.stderr


def as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
    """`launch.py WORDS` by the user nobody, whom the program's own files need not be open to."""
    become = "import os, sys, launch; os.setgroups([]); os.setgid(NOBODY); os.setuid(NOBODY); "
    become = become.replace("NOBODY", str(NOBODY)) + "sys.exit(launch.main(sys.argv[1:]))"
    command = [sys.executable, "-c", become, *words]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
