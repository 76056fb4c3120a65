"""The median stopping rule as a table, and which trials count for which."""

from __future__ import annotations

import math
from typing import Any

import pytest

from schedulers import Continue, MedianStoppingRule, Report, Stop

A, B, C, D = "00000", "00001", "00002", "00003"


def rule(**settings: Any) -> MedianStoppingRule:
    return MedianStoppingRule(**{"max_resource": 10, "n_startup_trials": 1, "n_warmup_steps": 0, **settings})


def train(rule: MedianStoppingRule, trial: str, *losses: Any, every: int = 1) -> Any:
    """One report an epoch (or every few); the last decision."""
    for number, loss in enumerate(losses, start=1):
        decision = rule.report(Report(trial, number * every, loss))
    return decision


@pytest.mark.parametrize(
    ("others", "mine", "stopped"),
    [
        ([(4, 2)], (5, 3), False),  # best 3, average of the other 3: equal is no worse
        ([(4, 2)], (5, 3.1), True),
        ([(4, 2)], (2.5, 9), False),  # by its best so far, not by its last
        ([(1, 1), (4, 2)], (3, 2.1), True),  # of two the mean of both: (1 + 3) / 2
        ([(1, 1), (4, 2), (9, 9)], (4, 3), False),  # of three the middle one: 3
        ([(1, 1), (4, 2), (9, 9)], (4, 3.1), True),
    ],
)
def test_a_trial_stops_if_its_best_is_worse_than_the_others_median_average(
    others: list[Any], mine: Any, stopped: bool
) -> None:
    """At step 2; the first step is warm-up."""
    median = rule(n_warmup_steps=1)
    for number, curve in enumerate(others):
        train(median, f"{number:05d}", *curve)
    assert isinstance(train(median, "00009", *mine), Stop) == stopped


def test_the_decision_says_both_numbers() -> None:
    median = rule(n_warmup_steps=1)
    train(median, A, 4, 2)
    assert train(median, B, 5, 3.5) == Stop("step 2: best loss 3.5, median of 1 running averages 3")


@pytest.mark.parametrize(
    ("settings", "stopped_at"),
    [
        ({}, 1),
        ({"n_warmup_steps": 3}, 4),
        ({"n_warmup_steps": 2, "interval_steps": 4}, 3),
        ({"n_warmup_steps": None}, 3),  # a fifth of 10 is 2
        ({"n_startup_trials": 2}, None),
    ],
)
def test_a_hopeless_trial_is_stopped_at_the_first_step_that_judges_it(
    settings: Any, stopped_at: int | None
) -> None:
    median = rule(**settings)
    train(median, A, *[1.0] * 10)
    stops = [e for e in range(1, 10) if isinstance(median.report(Report(B, e, 9.0)), Stop)]
    assert (stops[0] if stops else None) == stopped_at


def test_between_two_judgements_there_is_peace() -> None:
    """Warm-up 0, every 3 epochs: judged at 1, 4 and 7; a trial that gets worse at 5 is stopped at 7."""
    median = rule(interval_steps=3)
    train(median, A, *[1.0] * 10)
    assert median.steps == range(1, 10, 3)
    assert all(isinstance(median.report(Report(B, e, 0.5)), Continue) for e in (1, 2, 3))


def test_the_stopped_count_as_far_as_they_came() -> None:
    """With 2 others needed, the second stop depends on the averages of a trial that was stopped."""
    median = rule(n_startup_trials=2)
    train(median, A, 1)
    train(median, B, 2)
    assert isinstance(train(median, C, 3), Stop)
    assert "median of 3 running averages 2" in train(median, D, 3).reason


def test_a_diverged_trial_counts_as_infinitely_bad_from_then_on() -> None:
    """The median of one sound and two diverged trials is infinite: no finite trial is stopped."""
    median = rule(n_startup_trials=3)
    train(median, A, 1, 1, 1)
    train(median, B, 1, math.nan)
    train(median, C, 1, 1, math.inf)
    assert isinstance(train(median, D, 2), Stop)  # at step 1 all three were sound
    assert isinstance(median.report(Report("00004", 3, 2)), Continue)
    assert median.diverged_at == [2, 3]


def test_sparse_reports_are_judged_at_the_latest_step_and_count_between() -> None:
    """Reports at 3 and 6: at 4 and 5 its average is still that of 3, before its first it has none."""
    median = rule()
    train(median, A, 4, 2, every=3)
    assert {int(step): averages for step, averages in median.averages.items()} == {
        3: [4.0],
        4: [4.0],
        5: [4.0],
        6: [3.0],
    }
    assert isinstance(median.report(Report(B, 5, 4.1)), Stop)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_startup_trials": 0}, "n_startup_trials (0) must be at least 1"),
        ({"n_warmup_steps": -1}, "n_warmup_steps (-1) must be at least 0"),
        ({"interval_steps": 0}, "interval_steps (0) must be at least 1"),
        (
            {"n_warmup_steps": 10},
            "n_warmup_steps (10) must be below the epochs (10), else no trial is ever judged; lower it",
        ),
    ],
)
def test_settings_that_make_no_sense_say_why(settings: dict[str, Any], message: Any) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is asserted
        rule(**settings)
    assert str(error.value) == message
