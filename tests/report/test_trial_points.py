"""The points of the figures: each trial's last value, the epoch that all reached, and when it trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysweep.report.report import report
from raysweep.report.trial_points import (
    TrainingSpan,
    at_common_epoch,
    share_at_least_as_good,
    thinned,
    training_spans,
    value_points,
)
from raysweep.study.journal.events import EpochReported, TrialStarted
from tests.report import stories
from tests.report.stories import LAYERS, LR


def test_a_stopped_trial_stands_at_its_last_value(tmp_path: Path) -> None:
    subject = stories.subject(tmp_path)
    assert {trial.number for trial, _ in value_points(subject)} == set(range(12)) - {7}  # it never reported


def test_all_trials_are_compared_at_the_last_epoch_that_each_reached(tmp_path: Path) -> None:
    """The stopped ones reached epoch 2; the diverged and the failed one are left out."""
    same = at_common_epoch(stories.subject(tmp_path))
    assert same is not None
    assert (same.epoch, len(same.losses)) == (2, 10)
    assert same.losses["00000"] == pytest.approx(stories.loss_of(stories.config(0)) + 0.2)


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_without_stopped_trials_the_ends_are_compared(outcome: str, tmp_path: Path) -> None:
    events = [e for n in range(12) for e in stories.trial(n, 0.1 * n, stories.config(n))]
    events += stories.trial(12, 0.3, stories.config(12), outcome=outcome, epochs=4)
    assert at_common_epoch(stories.subject(tmp_path, events)) is None


def test_a_population_has_no_epoch_at_which_its_members_compare(tmp_path: Path) -> None:
    wanted = stories.sweep(trial_scheduler={"name": "schedulers.PBT"})
    assert at_common_epoch(stories.subject(tmp_path, stories.population(), wanted)) is None


def test_a_choice_whose_trials_were_all_stopped_matters_at_common_epoch(tmp_path: Path) -> None:
    """All completed trials have the good value, so its effect cannot show among them."""
    events = []
    for number in range(30):
        good, lr = number % 2 == 0, stories.config(number)[LR]
        events += stories.trial(
            number,
            (0.1 if good else 2.0) + 0.01 * (number % 7),
            {LR: lr, LAYERS: 1 if good else 6},
            outcome="completed" if good else "stopped",
            epochs=4 if good else 2,
        )
    study_report = report(stories.subject(tmp_path, events), 5)
    assert {share.name: share.fanova for share in study_report.importance.shares}[LAYERS] == pytest.approx(
        0, abs=1e-9
    )
    assert study_report.importance_at_epoch is not None
    assert study_report.importance_at_epoch.epoch == 2
    assert study_report.importance_at_epoch.fanova[LAYERS] > 0.9


def test_a_bar_of_the_timeline_is_training_without_a_break(tmp_path: Path) -> None:
    """Epochs of 2 s; after the second the trial waited until second 100."""
    begun, *rest = stories.trial(0, 0.1, stories.config(0))
    assert isinstance(rest[0], TrialStarted)
    late = [
        replace(event, t=event.t + 90) if isinstance(event, EpochReported) and event.epoch > 2 else event
        for event in rest[:-1]
    ]
    (trial,) = stories.subject(tmp_path, [begun, *late]).trials
    assert training_spans(trial) == [TrainingSpan(0.0, 4.0, 1, 2), TrainingSpan(94.0, 98.0, 3, 4)]


@pytest.mark.parametrize(
    ("sign", "values", "shares"),
    [
        (1, [1.0, 2.0, 4.0], [0.25, 0.75, 1.0]),
        (-1, [4.0, 2.0, 1.0], [0.25, 0.75, 1.0]),
    ],
)
def test_shares_are_counted_from_the_good_side(sign: int, values: list[float], shares: list[float]) -> None:
    drawn = [1.0, 2.0, 2.0, 4.0]
    assert share_at_least_as_good(drawn, sign) == (values, shares)


@given(st.lists(st.floats(allow_nan=False), unique=True), st.integers(2, 20))
def test_many_trials_are_thinned_to_the_better_half_and_a_fixed_sample(
    losses: list[float], most: int
) -> None:
    chosen = thinned(losses, lambda loss: loss, most)
    assert len(chosen) == len(set(chosen)) == min(len(losses), most)
    assert set(sorted(losses)[: most // 2]) <= set(chosen) <= set(losses)
    assert chosen == thinned(losses, lambda loss: loss, most)
