"""A small study to look at."""

from __future__ import annotations

from typing import Any

import pytest

from raysweep.console.progress import Facts
from raysweep.study.journal.events import AttemptStarted, TrialPaused
from tests.builders import LR, trained, trial_ended


@pytest.fixture
def facts() -> Facts:
    return Facts(name="digits", metric="val_loss", sign=1, epochs=10, wanted=4)


@pytest.fixture
def events() -> list[Any]:
    """Four trials: one whole, one stopped at epoch 4, one running, one paused."""
    return [
        AttemptStarted(t=0.0, attempt=1, slots=2, trials=4),
        *trained("00000", [1.0] * 9 + [0.5]),
        trial_ended("00000", "completed", "finished all 10 epochs"),
        *trained("00001", [2.0] * 4, {LR: 0.9}),
        trial_ended("00001", "stopped", "rank 2 of 2 at rung 4"),
        *trained("00002", [0.7, 0.6]),
        *trained("00003", [0.8] * 3),
        TrialPaused(t=0.0, trial="00003", epoch=3, reason="rank 4 of 4"),
    ]
