"""The time of a staged sweep: a stage may use up its own, never more than is left of the whole."""

from __future__ import annotations

import math

import pytest

from raysweep.study.stages.time_budget import LEAST_S, StagesTimeBudget
from schedulers.reason import ReasonCode
from tests.builders import small_sweep


@pytest.mark.parametrize(
    ("whole", "own", "spent", "given"),
    [
        (None, None, 0, None),
        (None, 7.0, 1000, 7.0),
        (60.0, None, 0, 60.0),
        (60.0, None, 45, 15.0),
        (60.0, 7.0, 45, 7.0),
        (60.0, 20.0, 45, 15.0),
        (60.0, None, 61, LEAST_S),
    ],
)
def test_a_stage_gets_its_own_time_or_what_is_left(
    whole: float | None, own: float | None, spent: float, given: float | None
) -> None:
    budget = StagesTimeBudget.of(small_sweep(time_budget_s=whole), now=1000.0)
    assert budget.share(small_sweep(time_budget_s=own), now=1000.0 + spent).time_budget_s == given


@pytest.mark.parametrize(
    ("code", "now", "cut"),
    [
        (ReasonCode.TIME_BUDGET, 61.0, True),
        (ReasonCode.TIME_BUDGET, 59.0, False),  # its own time: the next stage begins with what was found
        (ReasonCode.ALL_ENDED, 61.0, False),
    ],
)
def test_only_the_time_of_the_whole_leaves_a_stage_undone(code: ReasonCode, now: float, cut: bool) -> None:
    assert StagesTimeBudget(60.0).cut_short(code, now) is cut
    assert not StagesTimeBudget(math.inf).cut_short(code, now)
