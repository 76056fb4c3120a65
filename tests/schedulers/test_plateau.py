"""Patience, as a table of curves and the epoch at which each ends."""

from __future__ import annotations

from typing import Any

import pytest

from schedulers import PatienceRule, Report, Stop

R = 8


@pytest.mark.parametrize(
    ("curve", "settings", "ends_at"),
    [
        ([5, 4, 3, 2, 1, 0.5, 0.2, 0.1], {}, R),  # it improves to the end
        ([5, 4, 4, 4, 1, 1, 1, 1], {}, 4),  # the best at 2, none better for 2 epochs
        ([5, 4, 6, 3, 6, 2, 6, 1], {}, R),  # up and down, but ever better
        ([5, 4, 3.9, 3.8, 1, 1, 1, 1], {"min_delta": 0.5}, 4),  # crumbs are no improvement
        ([5, 4, 3.9, 3.4, 3.3, 3.2, 1, 1], {"min_delta": 0.5}, 6),  # 3.4 is one: by 0.6 on 4
        ([5, 6, 6, 6, 6, 6, 1, 1], {"grace_period": 4}, 5),
        ([5, 5, 5, 5, 5, 5, 5, 5], {"patience": 5}, 6),
    ],
)
def test_a_trial_ends_after_patience_epochs_without_improvement(
    curve: Any, settings: Any, ends_at: int
) -> None:
    rule = PatienceRule(**{"max_resource": R, "patience": 2, **settings})
    decisions = [rule.report(Report("00000", epoch, loss)) for epoch, loss in enumerate(curve, start=1)]
    stop = next(place for place, decision in enumerate(decisions, start=1) if isinstance(decision, Stop))
    assert stop == ends_at


def test_it_ends_as_completed_and_says_since_when() -> None:
    """Its loss is final, and a sampler may use it as that of a whole trial."""
    rule = PatienceRule(max_resource=R, patience=2, min_delta=0.1)
    decisions = [rule.report(Report("00000", epoch, 0.5)) for epoch in (1, 2, 3)]
    assert decisions[-1] == Stop("no improvement on 0.5 by 0.1 for 2 epochs, since epoch 1", "completed")
    assert rule.endings == {"00000": "completed"}


def test_trials_are_none_of_each_others_business() -> None:
    rule = PatienceRule(max_resource=R, patience=2)
    for epoch in (1, 2, 3):
        decision = rule.report(Report("00000", epoch, 1 / epoch))
        rule.report(Report("00001", epoch, 0.0))
    assert not isinstance(decision, Stop)
    assert rule.endings == {"00001": "completed"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 0}, "patience (0) must be at least 1"),
        ({"min_delta": -1}, "min_delta (-1) must be at least 0"),
        ({"grace_period": -1}, "grace_period (-1) must be at least 0"),
    ],
)
def test_settings_that_make_no_sense_say_why(settings: dict[str, Any], message: Any) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is asserted
        PatienceRule(max_resource=R, **settings)
    assert str(error.value) == message
