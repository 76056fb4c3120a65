"""A trial's process that is killed (SIGKILL) or asked to leave (SIGTERM) in the middle of its work."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from raysweep.study.journal.events import EpochReported, TrialRecovered
from tests.faults.driver import after_epochs, curves, ended, events, history, record, reports, said, start
from tests.faults.sweeps import write_sweep

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
POINTS = ["train", "save", "restore", "sound"]


def test_a_worker_killed_at_any_moment_costs_its_trial_nothing(tmp_path: Path) -> None:
    """Each dies once where its name says, the third twice: in its fifth epoch, and when it is restored."""
    marks = tmp_path / "marks"
    marks.mkdir()
    write_sweep(tmp_path, "killed", points=POINTS, net={"marks": str(marks)})
    assert ended(start(tmp_path, "run", "killed.yaml"), tmp_path) == 0, said(tmp_path)
    study = tmp_path / "runs/killed"
    assert {mark.name for mark in marks.iterdir()} == {"train", "save", "restore", "restored"}
    lost = [event.trial for event in events(study) if isinstance(event, TrialRecovered)]
    assert sorted(lost) == ["00000", "00001", "00002", "00002"]
    assert record(study).counts() == {"completed": 4}
    epochs = [(trial, epoch) for trial, epoch, _ in curves(study)]
    assert epochs == [(f"0000{trial}", epoch) for trial in range(4) for epoch in range(1, 9)]


def test_a_process_asked_to_leave_finishes_its_step_and_its_trial_goes_on(tmp_path: Path) -> None:
    """Nothing is trained twice, and no trial fails."""
    marks = tmp_path / "marks"
    marks.mkdir()
    points = ["term1", "term3", "term5", "term8"]
    write_sweep(tmp_path, "asked", points=points, net={"marks": str(marks)})
    assert ended(start(tmp_path, "run", "asked.yaml"), tmp_path) == 0, said(tmp_path)
    study = tmp_path / "runs/asked"
    assert {mark.name for mark in marks.iterdir()} == set(points)
    assert record(study).counts() == {"completed": 4}
    assert not [event for event in events(study) if isinstance(event, EpochReported) and event.again]
    lost = [event for event in events(study) if isinstance(event, TrialRecovered)]
    assert [event.terminated for event in lost] == [True] * len(lost)
    assert {event.trial for event in lost} >= {"00000", "00001", "00002"}  # the last one had no epoch left


def test_three_sigterms_at_once_change_a_studys_processes_only(tmp_path: Path) -> None:
    """As when a spot notice or `scancel` ends a node's processes."""
    for name in ("quiet", "shaken"):
        write_sweep(tmp_path, name, epochs=20, trials=6, max_concurrent_trials=3)
    assert ended(start(tmp_path, "run", "quiet.yaml"), tmp_path) == 0, said(tmp_path)
    study = tmp_path / "runs/shaken"
    process = start(tmp_path, "run", "shaken.yaml")
    for epochs in (15, 50):
        after_epochs(epochs, process, tmp_path, study)
        for pid in {int(event.worker.rpartition(":")[2]) for event in reports(study)[-9:]}:
            os.kill(pid, signal.SIGTERM)
    assert ended(process, tmp_path) == 0, said(tmp_path)
    assert any(isinstance(event, TrialRecovered) for event in events(study))
    assert history(study) == history(tmp_path / "runs/quiet")


def test_an_exit_of_the_users_own_is_the_failure_of_the_trial(tmp_path: Path) -> None:
    write_sweep(tmp_path, "quits", points=["leaves", "sound"])
    assert ended(start(tmp_path, "run", "quits.yaml"), tmp_path) == 0, said(tmp_path)
    trials = record(tmp_path / "runs/quits").trials
    assert [(trial.outcome, trial.reason) for trial in trials.values()] == [
        ("failed", "SystemExit: 7"),
        ("completed", "finished all 8 epochs"),
    ]
