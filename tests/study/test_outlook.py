"""What a rule predicted of a trial stands beside its epoch, in the user's direction."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from schedulers.fifo import FIFORule
from schedulers.rule import Continue, Outlook
from tests.builders import small_sweep
from tests.study.slot import Slot


@pytest.mark.parametrize(
    ("direction", "metrics"),
    [
        ("minimize", {"predicted_final": 0.3, "predicted_low": 0.1, "predicted_high": 0.5}),
        ("maximize", {"predicted_final": -0.3, "predicted_low": -0.5, "predicted_high": -0.1}),
    ],
)
def test_a_prediction_reaches_the_journal_with_its_interval(
    tmp_path: Path,
    direction: str,
    metrics: dict,  # type: ignore[type-arg]
) -> None:
    slot = Slot(tmp_path, small_sweep(direction=direction), FIFORule(max_resource=6))
    slot.controller.begin()
    slot.controller.ask()
    decision = Continue("room", outlook=Outlook(0.3, 0.1, 0.5, 0.2))
    slot.emitter.reported("00000", {"epoch": 1, slot.sweep.metric: 1.0}, decision)
    point = fold(read_events(tmp_path / "journal")).trials["00000"].curve[0]
    seen = {key: value for key, value in point.metrics.items() if key.startswith("predicted")}
    assert seen == {**metrics, "predicted_chance": 0.2}


def test_a_prediction_without_a_range_leaves_its_bounds_out(tmp_path: Path) -> None:
    slot = Slot(tmp_path, small_sweep(), FIFORule(max_resource=6))
    slot.controller.begin()
    slot.controller.ask()
    decision = Continue("room", outlook=Outlook(0.3, None, None, 0.2))
    slot.emitter.reported("00000", {"epoch": 1, slot.sweep.metric: 1.0}, decision)
    point = fold(read_events(tmp_path / "journal")).trials["00000"].curve[0]
    predictions = {key: value for key, value in point.metrics.items() if key.startswith("predicted")}
    assert predictions == {"predicted_final": 0.3, "predicted_chance": 0.2}
