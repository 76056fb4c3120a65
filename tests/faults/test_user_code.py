"""What a user's own training loop may do on its second epoch, and how each of it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.driver import ended, record, said, start
from tests.faults.sweeps import write_sweep

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
ENDS = {
    "sound": ("completed", "finished all 8 epochs"),
    "raises": ("failed", "KeyError: 'no such column'"),
    "nan": ("diverged", "at epoch 2; lower the learning rate"),
    "inf": ("diverged", "at epoch 2; lower the learning rate"),
    "none": ("failed", "yields an Epoch whose val_loss is NoneType None; it should be a number"),
    "text": ("failed", "yields an Epoch whose val_loss is str '0.5'; it should be a number"),
    "tensor": ("completed", "finished all 8 epochs"),
    "megabyte": ("completed", "finished all 8 epochs"),
    "memory": ("infeasible", "can't allocate memory: you tried to allocate"),
    "hangs": ("failed", "no epoch in 15 s (trial_timeout_s): it hangs, or it is too slow"),
}


def test_whatever_a_loop_does_its_trial_ends_and_the_others_go_on(tmp_path: Path) -> None:
    """A one-element tensor is a number; a megabyte of prints reaches no terminal."""
    write_sweep(tmp_path, "odd", points=list(ENDS), max_failures=None, trial_timeout_s=15)
    assert ended(start(tmp_path, "run", "odd.yaml"), tmp_path) == 0, said(tmp_path)
    trials = record(tmp_path / "runs/odd").trials.values()
    assert [trial.outcome for trial in trials] == [outcome for outcome, _ in ENDS.values()]
    for trial, (kind, (_, words)) in zip(trials, ENDS.items(), strict=True):
        assert words in trial.reason, kind
        assert (tmp_path / f"runs/odd/trials/{trial.trial}/error.txt").exists() == bool(trial.error), kind
    assert len(said(tmp_path)) < 20_000
    assert "Traceback" not in said(tmp_path)
