"""The progress of a study."""

from __future__ import annotations

from typing import Any

import pytest

from raysweep.console.progress import Facts, Progress, progress
from raysweep.study.journal.events import AttemptStarted
from raysweep.study.journal.records import StudyRecord, fold
from tests.builders import trained, trial_ended


def seen(
    events: list[AttemptStarted] | list[Any], facts: Facts, elapsed_s: float = 19.0, **kwargs: Any
) -> Progress:
    return progress(fold(events), facts, elapsed_s=elapsed_s, **kwargs)


def test_trials_are_counted_by_status(events: list[Any], facts: Facts) -> None:
    now = seen(events, facts)
    assert now.counts == {"completed": 1, "stopped": 1, "running": 1, "paused": 1}
    assert now.ended == 2
    assert [trial.number for trial in now.running] == [2]


def test_epochs_saved_are_those_a_stopped_trial_was_not_given(events: list[Any], facts: Facts) -> None:
    """Trial 1 was stopped at 4 of 10; paused and running trials have saved nothing yet."""
    now = seen(events, facts)
    assert (now.epochs_run, now.epochs_saved) == (10 + 4 + 2 + 3, 6)


@pytest.mark.parametrize(
    ("outcome", "saved"), [("stopped", 8), ("diverged", 0), ("failed", 0), ("infeasible", 0)]
)
def test_a_failure_saves_nothing(outcome: str, saved: int, facts: Facts) -> None:
    now = seen([*trained("00000", [1.0, 1.0]), trial_ended("00000", outcome)], facts)
    assert now.epochs_saved == saved


def test_a_maximised_metric_is_shown_as_the_user_knows_it() -> None:
    """The record's losses are lower-is-better: an accuracy of 0.9 is kept as -0.9."""
    facts = Facts(name="x", metric="accuracy", sign=-1, epochs=10, wanted=1)
    now = seen(trained("00000", [-0.9]), facts)
    assert now.best.value == 0.9
    assert now.running[0].value == 0.9


@pytest.mark.parametrize(("objective", "value", "epoch"), [("last", 0.9, 3), ("best", 0.4, 2)])
def test_the_best_value_is_shown_with_the_epoch_it_was_reached_at(
    objective: str, value: float, epoch: int, facts: Facts
) -> None:
    record = fold(trained("00000", [1.0, 0.4, 0.9]), objective)
    best = progress(record, facts, elapsed_s=1.0).best
    assert (best.value, best.epoch) == (value, epoch)


def test_what_is_left_is_what_ended_trials_took(events: list[Any], facts: Facts) -> None:
    """Ended trials took 7 epochs each; trial 2 has 5 left, trial 3 has 4: 9 s at one per second."""
    assert seen(events, facts, elapsed_s=19.0).left_s == pytest.approx(9.0)


def test_the_start_of_ray_does_not_count_as_an_epoch(events: list[Any], facts: Facts) -> None:
    """Of 19 epochs the first came after 100 s, the others took 18 s: 9 more will take 9 s."""
    assert seen(events, facts, elapsed_s=118.0, first_s=100.0).left_s == pytest.approx(9.0)


def test_the_speed_is_this_attempts_own(events: list[Any], facts: Facts) -> None:
    """10 of 19 epochs were trained before the resume: 9 epochs took the 18 s, 9 are left."""
    assert seen(events, facts, elapsed_s=18.0, epochs_before=10).left_s == pytest.approx(18.0)


def test_before_the_first_epoch_nothing_is_estimated(facts: Facts) -> None:
    now = seen([AttemptStarted(t=0.0, attempt=1, slots=2, trials=4)], facts)
    assert (now.left_s, now.best) == (None, None)


def test_an_empty_study_has_a_progress(facts: Facts) -> None:
    assert progress(StudyRecord(), facts, elapsed_s=0.0).ended == 0


def test_epochs_that_were_reported_together_tell_no_speed(events: list[Any], facts: Facts) -> None:
    assert seen(events, facts, elapsed_s=100.5, first_s=100.0).left_s is None
