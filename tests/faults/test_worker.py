"""A trial's process that is killed (SIGKILL) while it trains, saves or restores."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.study.events import Recovered
from tests.faults.driver import curves, ended, events, record, said, start
from tests.faults.sweeps import write_sweep

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
POINTS = ["train", "save", "restore", "sound"]


def test_a_worker_killed_in_training_saving_or_restoring_costs_its_trial_nothing(tmp_path: Path):
    """Each dies once where its name says, the third twice: in its fifth epoch, and when it is restored."""
    marks = tmp_path / "marks"
    marks.mkdir()
    write_sweep(tmp_path, "killed", points=POINTS, net={"marks": str(marks)})
    assert ended(start(tmp_path, "run", "killed.yaml"), tmp_path) == 0, said(tmp_path)
    study = tmp_path / "runs/killed"
    assert {mark.name for mark in marks.iterdir()} == {"train", "save", "restore", "restored"}
    lost = [event.trial for event in events(study) if isinstance(event, Recovered)]
    assert sorted(lost) == ["00000", "00001", "00002", "00002"]
    assert record(study).counts() == {"completed": 4}
    epochs = [(trial, epoch) for trial, epoch, _ in curves(study)]
    assert epochs == [(f"0000{trial}", epoch) for trial in range(4) for epoch in range(1, 9)]
