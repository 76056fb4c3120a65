"""A margin to the best that shrinks with the epoch."""

from __future__ import annotations

from typing import Any

import pytest

from schedulers import Continue, MarginRule, Report, Stop


@pytest.mark.parametrize(
    ("epoch", "accuracy", "decision"),
    [
        (4, 0.10, Continue),  # too early
        (5, 0.74, Stop),  # more than 15 points below 0.9
        (5, 0.76, Continue),
        (9, 0.76, Continue),
        (10, 0.79, Stop),  # more than 10 points
        (10, 0.81, Continue),
        (30, 0.84, Stop),  # more than 5 points
        (30, 0.86, Continue),
        (50, 0.80, Continue),  # never: it still might recover
        (80, 0.10, Continue),
    ],
)
def test_by_default_it_is_the_rule_of_thumb_for_accuracies_and_100_epochs(
    epoch: int, accuracy: float, decision: type[Any]
) -> None:
    rule = MarginRule(max_resource=100)
    rule.report(Report("00000", 1, -0.9))
    assert isinstance(rule.report(Report("00001", epoch, -accuracy)), decision)


@pytest.mark.parametrize(
    ("epochs", "margins"),
    [
        (100, {5: 0.15, 10: 0.10, 30: 0.05, 50: None}),
        (27, {2: 0.15, 3: 0.10, 9: 0.05, 14: None}),
        (10, {1: 0.10, 3: 0.05, 5: None}),  # 5% and 10% fall on epoch 1: the narrower
    ],
)
def test_shorter_runs_have_it_by_percent(epochs: int, margins: dict[int, Any]) -> None:
    assert MarginRule(max_resource=epochs).margins == margins


@pytest.mark.parametrize(
    ("relative", "best", "mine", "decision"),
    [
        (False, 100.0, 100.4, Continue),
        (False, 100.0, 100.6, Stop),
        (True, 100.0, 149.0, Continue),
        (True, 100.0, 151.0, Stop),
        (True, -100.0, -49.0, Stop),  # a share of the size, also of a maximised metric
    ],
)
def test_a_margin_is_in_the_metrics_unit_or_a_share_of_the_best(
    relative: bool, best: float, mine: float, decision: type[Any]
) -> None:
    rule = MarginRule(max_resource=9, margins={1: 0.5}, relative=relative)
    rule.report(Report("00000", 1, best))
    assert isinstance(rule.report(Report("00001", 1, mine)), decision)


def test_the_best_is_of_any_trial_at_any_epoch_and_the_decision_says_so() -> None:
    rule = MarginRule(max_resource=9, margins={1: 0.5, 3: 0.25})
    rule.report(Report("00000", 9, 0.125))
    assert rule.report(Report("00001", 4, 1.0)) == Stop(
        "epoch 4: loss 1 is 0.875 worse than the best, 0.25 allowed from epoch 3 on"
    )


def test_epochs_may_be_words_as_json_has_them() -> None:
    """A sweep is written to its study folder and read again for a resume."""
    assert MarginRule(max_resource=9, margins={"3": 0.5}).margins == {3: 0.5}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("margins", "message"),
    [
        ({}, "margins must hold at least one number, as in {5: 0.15, 10: 0.1}"),
        ({3: None}, "margins must hold at least one number, as in {5: 0.15, 10: 0.1}"),
        ({0: 0.5}, "margins: epoch 0 must be at least 1"),
        ({1: -0.5}, "margins: -0.5 at epoch 1 must be at least 0"),
        ({1: float("nan")}, "margins: nan at epoch 1 must be at least 0"),
    ],
)
def test_margins_that_make_no_sense_say_why(margins: Any, message: Any) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is asserted
        MarginRule(max_resource=9, margins=margins)
    assert str(error.value) == message
