"""Plain lines, without a terminal."""

from __future__ import annotations

import io
from typing import Any

from raysweep.console.lines import AT_ONCE, Lines
from raysweep.console.progress import Facts
from raysweep.study.journal.events import CheckpointFailed, TrialRecovered, TrialReopened
from raysweep.study.journal.records import StudyRecord
from tests.builders import trained, trial_ended


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lines_of(facts: Facts, events: list[Any], clock: Any = None, seconds: float = 0.0) -> Any:
    stream, clock = io.StringIO(), clock or Clock()
    view = Lines(facts, StudyRecord(), stream=stream, clock=clock)
    for event in events:
        view(event)
    clock.now += seconds
    view.catch_up()
    return stream.getvalue().splitlines()


def test_a_trial_that_ends_is_one_line_with_its_reason(facts: Facts, events: list[Any]) -> None:
    assert lines_of(facts, events) == [
        "[1/4] trial 0 completed at epoch 10: val_loss 0.5  lr=0.1  (finished all 10 epochs)",
        "[2/4] trial 1 stopped at epoch 4: val_loss 2  lr=0.9  (rank 2 of 2 at rung 4)",
    ]


def test_a_diverged_trial_is_not_given_the_value_of_an_earlier_epoch(facts: Facts) -> None:
    ended = trial_ended("00000", "diverged", "val_loss nan at epoch 2")
    assert lines_of(facts, [*trained("00000", [0.5, None]), ended]) == [
        "[1/4] trial 0 diverged at epoch 2  lr=0.1  (val_loss nan at epoch 2)"
    ]


def test_a_trial_that_is_reopened_is_counted_once(facts: Facts, events: list[Any]) -> None:
    again = TrialReopened(
        t=90.0, trial="00000", epoch=10, waits=False, reason="the study was given 20 epochs"
    )
    assert lines_of(facts, [*events, again, trial_ended("00000", "completed")])[-1].startswith(
        "[2/4] trial 0"
    )


def test_epochs_print_nothing(facts: Facts) -> None:
    assert lines_of(facts, trained("00000", [1.0] * 9)) == []


def test_a_lost_worker_is_a_line_and_a_full_disk_only_one(facts: Facts) -> None:
    full = CheckpointFailed(
        t=3.0, trial="00000", error="trial 00000 at epoch 2: no checkpoint could be written: full"
    )
    lost = TrialRecovered(t=4.0, trial="00000", error="Traceback\nActorDiedError: gone")
    assert lines_of(facts, [*trained("00000", [1.0] * 2), full, full, lost]) == [
        f"{full.error}; trials continue, but after an interruption would restart further back",
        "trial 0 lost its process and continues: ActorDiedError: gone",
    ]


def test_ten_quiet_seconds_are_answered_with_how_far_the_study_is(facts: Facts) -> None:
    assert lines_of(facts, trained("00000", [1.0] * 5), seconds=10.0) == [
        "0/4 trials over, 1 running; best val_loss 1 (trial 0); 5 epochs run, 0 saved; 10 s elapsed"
    ]


def test_many_ends_at_once_are_no_flood(facts: Facts) -> None:
    many = [
        event
        for number in range(AT_ONCE + 5)
        for event in (*trained(f"{number:05d}", [1.0]), trial_ended(f"{number:05d}", "stopped"))
    ]
    shown = lines_of(facts, many)
    assert len(shown) == AT_ONCE + 1
    assert shown[-1] == "... and 5 more trials ended"


def test_a_reader_who_has_gone_does_not_end_the_sweep(facts: Facts, events: list[Any]) -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> None:  # type: ignore[override]
            raise BrokenPipeError

    with Lines(facts, StudyRecord(), stream=Closed()) as view:
        for event in events:
            view(event)
    assert view.record.epochs == 19


def test_what_came_last_is_shown_before_the_view_closes(facts: Facts, events: list[Any]) -> None:
    stream = io.StringIO()
    with Lines(facts, StudyRecord(), stream=stream) as view:
        for event in events:
            view(event)
        view.say("stopping")
    assert stream.getvalue().splitlines()[0] == "stopping"
    assert len(stream.getvalue().splitlines()) == 3
