"""What a study says about trials that share processes: journal, status, MLflow, summary."""

from __future__ import annotations

from pathlib import Path

from raysweep.console.summary import lane_lines
from raysweep.study.journal.events import AttemptStarted, Event, LaneReported, TrialCreated
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from raysweep.study.journal.status_file import StatusFile
from raysweep.study.storage.layout import StudyFolder
from raysweep.tracking.projection import RunProjection
from raysweep.tracking.runs import SweepFacts
from schedulers.fifo import FIFORule
from schedulers.rule import Continue
from tests.builders import LR, small_sweep
from tests.study.slot import Slot

NORM = "batch norm keeps running statistics"
EVENTS: list[Event] = [
    AttemptStarted(t=1.0, attempt=1, slots=8, trials=3, lanes=4),
    *(TrialCreated(t=1.0, trial=f"0000{n}", config={LR: 0.1}, source="sampler") for n in range(4)),
    LaneReported(t=2.0, trial="00000", obstacle=""),
    LaneReported(t=2.0, trial="00001", obstacle=NORM),
    LaneReported(t=2.0, trial="00002", obstacle=""),
]


def test_a_lanes_first_result_is_an_event_and_the_next_is_none(tmp_path: Path) -> None:
    slot = Slot(tmp_path, small_sweep(1), FIFORule(max_resource=6))
    slot.controller.begin()
    slot.controller.ask()
    for epoch, metrics in ((1, {"lane_obstacle": NORM}), (2, {}), (3, {"lane_obstacle": NORM})):
        slot.emitter.reported("00000", {"epoch": epoch, "val_loss": 1.0, **metrics}, Continue())
    kinds = [event.kind for event in read_events(tmp_path / "journal")]
    assert kinds == ["attempt_started", "trial_created", "lane", "reported", "reported", "reported"]


def test_status_counts_lanes_and_the_trials_that_are_fused(tmp_path: Path) -> None:
    status = StatusFile(StudyFolder(tmp_path), fold(EVENTS), "val_loss", 1).summary("running")
    assert (status["lanes"], status["fused"]) == (4, 2)


def test_the_summary_says_how_trials_were_trained_and_which_not_fused() -> None:
    assert lane_lines(fold(EVENTS)) == [
        "4 trials to a process; 2 of 3 trained together where they fit",
        f"1 each by itself: {NORM}",
    ]
    assert lane_lines(fold(EVENTS[:5])) == []  # a process each: nothing to say


def test_mlflow_tags_each_trial_with_its_lane_and_the_study_with_all() -> None:
    projection = RunProjection(SweepFacts("s", "p"), "id")
    for event in EVENTS:
        projection.apply(event)
    tags = {update.trial: update.tags for update in projection.take()}
    assert [tags[f"0000{n}"].get("lane") for n in range(4)] == ["fused", NORM, "fused", None]
    assert tags[""]["lanes"] == "4"
