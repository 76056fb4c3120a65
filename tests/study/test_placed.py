"""Where each trial runs, on which GPU and with which torch: in the journal, and as tags of its run."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from raysweep.study.execution.trial_events import TrialEventEmitter
from raysweep.study.journal.events import EpochReported, Event, TrialCreated, TrialPlaced
from raysweep.study.journal.records import StudyRecord
from raysweep.tracking.projection import worker_tags
from schedulers.rule import Continue, Stop
from tests.builders import small_sweep

PLACE = {"hostname": "node-3", "pid": 77, "process/torch": "2.13.0+cu130", "process/gpu": "NVIDIA A10G"}
PLACED = TrialPlaced(t=5.0, trial="00000", worker="node-3:77", gpu="NVIDIA A10G", torch="2.13.0+cu130")


def events_of(*results: Mapping[str, Any]) -> list[Event]:
    """What the journal gets of a trial's results."""
    record, events = StudyRecord(), list[Event]()
    record.apply(TrialCreated(t=1.0, trial="00000", config={}, source="sampler"))
    bus = SimpleNamespace(clock=lambda: 5.0, emit=events.append)
    emitter = TrialEventEmitter(SimpleNamespace(record=record, sweep=small_sweep(), bus=bus))  # type: ignore[arg-type]
    for result in results:
        emitter.reported("00000", result, Stop("failed") if "outcome" in result else Continue())
    return events


def test_the_first_result_of_a_process_says_where_its_trial_runs() -> None:
    events = events_of({"epoch": 1, "val_loss": 0.5, **PLACE}, {"epoch": 2, "val_loss": 0.4})
    assert events[0] == PLACED
    assert [type(event) for event in events[1:]] == [EpochReported, EpochReported]


def test_where_a_trial_failed_is_known_though_it_had_no_epoch() -> None:
    assert events_of({"epoch": 0, "outcome": "failed", "reason": "no", "error": "", **PLACE}) == [PLACED]


def test_the_place_of_a_trial_is_tags_of_its_run() -> None:
    assert worker_tags(PLACED) == {"node": "node-3", "gpu": "NVIDIA A10G", "torch": "2.13.0+cu130"}
