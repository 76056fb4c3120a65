"""A disk that is full: of checkpoints, or for the journal itself. Real disks: a small tmpfs each (root)."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raysweep.config import read_sweep
from raysweep.study.journal.events import CheckpointFailed, TrialEnded
from raysweep.study.storage.layout import StudyFolder
from tests.faults.driver import after_epochs, curves, ended, events, record, reports, said, start
from tests.faults.sweeps import write_sweep

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
Mount = Callable[[Path, str], Path]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Put a small disk of its own under a folder."""
    mounted: list[Path] = []

    def put(folder: Path, size: str) -> Path:
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
        mounted.append(folder)
        return folder

    yield put
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path: Path) -> None:
    """Write until the disk takes no more."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_disk_full_for_checkpoints_costs_no_trial_and_is_said_once(tmp_path: Path, mount: Mount) -> None:
    """Not one checkpoint fits, and promotions go on without: their epochs run again, and count once."""
    words = {
        "trial_scheduler": {
            "name": "schedulers.ASHA",
            "kwargs": {"grace_period": 2, "reduction_factor": 2, "variant": "promotion"},
        },
        "max_concurrent_trials": 1,
    }
    write_sweep(tmp_path, "roomy", net={"megabytes": 4}, **words)  # type: ignore[arg-type]
    sweep = read_sweep(write_sweep(tmp_path, "full", net={"megabytes": 4}, **words)).sweep  # type: ignore[arg-type]
    StudyFolder.create(tmp_path / "runs", "full", sweep, "")
    mount(tmp_path / "runs/full/ray", "3m")
    roomy = start(tmp_path, "run", "roomy.yaml")
    assert ended(start(tmp_path, "resume", "full"), tmp_path) == 0, said(tmp_path)
    assert ended(roomy, tmp_path) == 0, said(tmp_path)
    failures = [event for event in events(tmp_path / "runs/full") if isinstance(event, CheckpointFailed)]
    assert failures
    assert all("no checkpoint could be written: " in event.error for event in failures)
    line = "no checkpoint could be written: No space left on device; trials continue"
    assert said(tmp_path).count(line) == 1
    assert "Traceback" not in said(tmp_path)
    assert curves(tmp_path / "runs/full") == curves(tmp_path / "runs/roomy")
    assert record(tmp_path / "runs/full").counts() == record(tmp_path / "runs/roomy").counts()


def test_a_full_disk_ends_the_sweep_in_order_and_with_room_it_goes_on(tmp_path: Path, mount: Mount) -> None:
    """One line, exit code 130, no traceback; without room `resume` says so, with room it finishes."""
    write_sweep(tmp_path, "sweep", trials=6)
    disk = mount(tmp_path / "runs", "2m")
    study = disk / "sweep"
    process = start(tmp_path, "run", "sweep.yaml")
    after_epochs(10, process, tmp_path, study)
    fill(disk / "filler")
    assert ended(process, tmp_path) == 130, said(tmp_path)
    assert "cannot be written: No space left on device" in said(tmp_path)
    assert ended(start(tmp_path, "resume", "sweep"), tmp_path) == 6
    assert said(tmp_path).strip().endswith("free some space, then `launch.py resume`")
    assert "Traceback" not in said(tmp_path)
    (disk / "filler").unlink()
    before = reports(study)
    assert ended(start(tmp_path, "resume", "sweep"), tmp_path) == 0, said(tmp_path)
    after = reports(study)
    assert list(map(repr, after[: len(before)])) == list(map(repr, before))  # a metric may be NaN
    assert len(after) == len({(event.trial, event.epoch) for event in after}) == 6 * 8
    assert len([event for event in events(study) if isinstance(event, TrialEnded)]) == 6
