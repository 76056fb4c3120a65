"""The record: a fold of events."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysweep.study.journal.events import (
    AttemptEnded,
    AttemptStarted,
    CheckpointSaved,
    EpochReported,
    Event,
    TrialCreated,
    TrialEnded,
    TrialExploited,
    TrialPaused,
    TrialPromoted,
    TrialRecovered,
    TrialReopened,
    TrialStarted,
)
from raysweep.study.journal.records import StudyRecord, fold
from tests.builders import LR, epoch_reported, trial_created, trial_ended


def asked(trial: str, lr: float = 0.1) -> TrialCreated:
    return trial_created(trial, {LR: lr})


def reported(
    trial: str, epoch: int, loss: float | None, decision: Any = "continue", again: bool = False
) -> EpochReported:
    return epoch_reported(trial, epoch, loss, t=float(epoch), decision=decision, again=again)


def exploited(trial: str, donor: str, epoch: int, lr: float, generation: int = 1) -> TrialExploited:
    return TrialExploited(
        t=0.0,
        trial=trial,
        donor=donor,
        epoch=epoch,
        generation=generation,
        config={"optimizer_config.lr": lr},
        reason="worst quarter",
    )


BEGUN = AttemptStarted(t=0.0, attempt=1, slots=2, trials=4)
STARTED = TrialStarted(t=1.0, trial="00000", attempt=1)
ENDED = TrialEnded(t=9.0, trial="00000", outcome="completed", reason="finished all 3 epochs")


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([], "pending"),
        ([STARTED], "running"),
        ([STARTED, reported("00000", 1, 0.5)], "running"),
        ([STARTED, reported("00000", 1, 0.5, "pause")], "paused"),  # killed before the pause was carried out
        ([STARTED, TrialPaused(t=2.0, trial="00000", epoch=1, reason="gave way")], "paused"),
        (
            [
                STARTED,
                reported("00000", 1, 0.5, "pause"),
                TrialPromoted(t=3.0, trial="00000", epoch=1, reason=""),
            ],
            "running",
        ),
        ([STARTED, TrialRecovered(t=2.0, trial="00000", error="worker died")], "running"),
        ([STARTED, BEGUN], "pending"),  # its driver is gone
        ([reported("00000", 1, 0.5, "pause"), BEGUN], "paused"),  # a paused trial stays paused over a restart
        ([STARTED, ENDED], "completed"),
        ([STARTED, ENDED, BEGUN], "completed"),
    ],
)
def test_a_trials_status_follows_from_its_events(events: list[Event], status: str) -> None:
    record = fold([BEGUN, asked("00000"), *events])
    assert record.trials["00000"].status == status


def test_an_epoch_reported_again_after_a_recovery_counts_once() -> None:
    record = fold([BEGUN, asked("00000"), reported("00000", 1, 0.5), reported("00000", 1, 0.5, again=True)])
    assert [point.epoch for point in record.trials["00000"].curve] == [1]
    assert record.epochs == 1


@pytest.mark.parametrize(("objective", "loss", "epoch"), [("last", 0.4, 3), ("best", 0.2, 2)])
def test_a_trials_loss_is_what_the_objective_says(objective: str, loss: float, epoch: int) -> None:
    curve = [reported("00000", 1, 0.5), reported("00000", 2, 0.2), reported("00000", 3, 0.4)]
    trial = fold([BEGUN, asked("00000"), *curve]).trials["00000"]
    assert (trial.objective_loss(objective), trial.objective_epoch(objective)) == (loss, epoch)


@pytest.mark.parametrize("loss", [None, math.nan, math.inf])
def test_a_non_finite_loss_is_in_the_curve_but_is_not_its_loss(loss: float | None) -> None:
    trial = fold([BEGUN, asked("00000"), reported("00000", 1, loss)]).trials["00000"]
    assert len(trial.curve) == 1
    assert trial.objective_loss("last") is None


def test_the_best_is_the_least_of_the_completed_ones() -> None:
    record = fold(
        [
            BEGUN,
            *(asked(f"0000{n}") for n in range(3)),
            reported("00000", 1, 0.5),
            reported("00001", 1, 0.1),
            reported("00002", 1, 0.3),
            trial_ended("00000"),
            trial_ended("00001", "stopped", "rank 2 of 3"),
            trial_ended("00002"),
        ]
    )
    best = record.best()
    assert best is not None
    assert best.trial == "00002"


def test_while_none_is_complete_the_best_is_the_least_so_far() -> None:
    record = fold(
        [BEGUN, asked("00000"), asked("00001"), reported("00000", 1, 0.5), reported("00001", 1, 0.1)]
    )
    best = record.best()
    assert best is not None
    assert best.trial == "00001"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["00000", "00001", "00002"]),
            st.sampled_from(["completed", "stopped", "failed", "reopened", 0.1, 0.2, 0.3]),
        ),
        max_size=20,
    )
)
def test_best_and_failures_at_every_step_are_those_of_a_fresh_fold(
    story: list[tuple[str, Any]],
) -> None:
    """They are kept up to date, not counted again: a thousand trials ask a thousand times."""
    past: list[Event] = [BEGUN, *(asked(f"0000{n}") for n in range(3))]
    known = fold(past)
    for trial, word in story:
        record = known.trials[trial]
        event: Event
        if word == "reopened" and record.outcome == "completed":
            event = TrialReopened(t=1.0, trial=trial, epoch=record.epoch, waits=False, reason="")
        elif record.outcome is not None or word == "reopened":
            continue
        elif isinstance(word, float):
            event = reported(trial, record.epoch + 1, word)
        else:
            event = trial_ended(trial, word)
        past.append(event)
        known.apply(event)
        best, afresh = known.best(), fold(past)
        assert (best and best.trial) == ((there := afresh.best()) and there.trial)
        assert known.failures == afresh.failures == afresh.counts()["failed"]


@pytest.mark.parametrize("outcome", ["diverged", "failed", "infeasible"])
def test_a_trial_that_went_wrong_is_never_the_best(outcome: Any) -> None:
    ended = trial_ended("00000", outcome)
    assert fold([BEGUN, asked("00000"), reported("00000", 1, 0.1), ended]).best() is None


def test_the_winning_schedule_follows_the_donors_history() -> None:
    """Trial 2's weights came from 1 at epoch 6, which had taken them from 0 at epoch 3."""
    record = fold(
        [
            BEGUN,
            asked("00000", lr=0.1),
            asked("00001", lr=0.2),
            asked("00002", lr=0.3),
            exploited("00001", "00000", 3, lr=0.12),
            exploited("00002", "00000", 3, lr=0.09),  # replaced by the next
            exploited("00002", "00001", 6, lr=0.15, generation=2),
            exploited("00001", "00000", 9, lr=0.5, generation=2),  # after the copy
        ]
    )
    lrs = [(epoch, config["optimizer_config.lr"]) for epoch, config in record.schedule("00002")]
    assert lrs == [(0, 0.1), (3, 0.12), (6, 0.15)]


def test_a_checkpoint_of_before_an_exploit_is_not_the_trials_latest() -> None:
    made = CheckpointSaved(t=1.0, trial="00000", epoch=3, generation=0, path="a")
    record = fold([BEGUN, asked("00000"), asked("00001"), made, exploited("00000", "00001", 3, lr=0.2)])
    trial = record.trials["00000"]
    assert trial.latest_checkpoint() is None
    assert trial.checkpoint_at(3) == "a"


def test_a_killed_attempt_leaves_the_study_open_and_a_closed_one_says_how() -> None:
    closed = AttemptEnded(t=5.0, attempt=1, exit_code=0, reason="all trials ended")
    assert fold([BEGUN]).closed is None
    assert fold([BEGUN, closed]).closed == closed
    assert fold([BEGUN, closed, BEGUN]).closed is None


def test_an_empty_study_has_no_best() -> None:
    assert StudyRecord().best() is None
