"""Several sweeps per side: the exact test, its interval, and its level if two methods are alike."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from raysweep.report.rank_test import rank_test, reachable_p, sweeps_a_side
from raysweep.report.trajectory import precedence

VALUES = st.lists(st.integers(-1000, 1000), min_size=2, max_size=9, unique=True)


def u_of(one: Any, other: Any) -> Any:
    return sum((a > b) + 0.5 * (a == b) for a in one for b in other)


def enumerated_p(one: Any, other: Any) -> Any:
    """Two-sided p from all ways to divide the values between the two sides."""
    values, n = [*one, *other], len(one)
    dealt = []
    for chosen in combinations(range(len(values)), n):
        first = [values[place] for place in chosen]
        dealt.append(u_of(first, [value for place, value in enumerate(values) if place not in chosen]))
    dealt, seen = np.array(dealt), u_of(one, other)  # type: ignore[assignment]
    return min(1.0, 2 * min((dealt <= seen).mean(), (dealt >= seen).mean()))


@given(VALUES, st.data())
def test_p_is_that_of_all_ways_to_deal_the_values(values: list[int], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, min(len(values) - 1, 5)))
    one, other = np.array(values[:n], float), np.array(values[n:], float)
    assert rank_test(one, other).p == pytest.approx(enumerated_p(one, other))


def test_p_of_many_sweeps_is_scipys() -> None:
    one, other = np.random.default_rng(0).random((2, 15))
    assert rank_test(one, other + 0.2).p == pytest.approx(
        mannwhitneyu(one, other + 0.2, method="exact").pvalue
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [([2], [1, 2, 3]), ([1, 1, 2], [2, 3, 3]), ([1, 2, math.inf], [2, math.inf, math.inf]), ([1, 1], [1, 1])],
)
def test_tied_values_are_dealt_exactly_too(one: Any, other: Any) -> None:
    assert rank_test(np.array(one, float), np.array(other, float)).p == pytest.approx(
        enumerated_p(one, other)
    )


@given(VALUES, st.data())
def test_the_interval_leaves_zero_out_where_its_test_would(values: list[int], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(values) - 1))
    result = rank_test(np.array(values[:n], float), np.array(values[n:], float))
    assert result.low <= result.lead <= result.high
    assert (result.low > 0 or result.high < 0) == (result.p <= 1 - result.confidence + 1e-9)


@given(VALUES, st.data())
def test_swapped_sides_say_the_same_the_other_way(values: list[int], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(values) - 1))
    one, other = np.array(values[:n], float), np.array(values[n:], float)
    here, there = rank_test(one, other), rank_test(other, one)
    assert here.p == pytest.approx(there.p)
    assert (here.lead, here.low, here.high) == (-there.lead, -there.high, -there.low)


@pytest.mark.parametrize(
    ("sizes", "confidence"), [((1, 2), 1 / 3), ((3, 3), 0.9), ((4, 4), 34 / 35), ((10, 10), 0.9567)]
)
def test_the_interval_is_of_95_percent_where_so_many_sweeps_allow_it(
    sizes: tuple[Any, ...], confidence: float
) -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.random(size) for size in sizes)
    assert rank_test(one, other).confidence == pytest.approx(confidence, abs=1e-4)


@pytest.mark.parametrize(("level", "sweeps"), [(0.1, 3), (0.05, 4), (0.05 / 3, 5), (0.01, 5)])
def test_so_many_sweeps_a_side_are_the_least_for_a_level(level: float, sweeps: int) -> None:
    assert sweeps_a_side(level) == sweeps
    assert reachable_p(sweeps - 1, sweeps - 1) > level


def test_a_sweep_without_a_result_ranks_last_and_has_no_difference() -> None:
    result = rank_test(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, 0.6, 0.7, math.inf]))
    assert result.p == pytest.approx(2 / 70)
    assert math.isnan(result.lead + result.low + result.high + result.confidence)


def adaptive_search(rng: np.random.Generator, trials: int = 30) -> NDArray[Any]:
    """Best losses of a search that stays close to its best point after ten random ones."""
    points = rng.random((trials, 3))
    losses = np.empty(trials)
    for trial in range(trials):
        if trial >= 10:
            best = points[losses[:trial].argmin()]
            points[trial] = np.clip(best + 0.1 * rng.normal(size=3), 0, 1)
        rough = np.sin(12 * points[trial]).sum()
        losses[trial] = ((points[trial] - 0.4) ** 2).sum() + 0.3 * rough
    return losses


def test_equal_adaptive_methods_are_distinguished_once_in_twenty_times() -> None:
    """By their sweeps; by their trials (the precedence test) far more often, as the same runs show."""
    rng = np.random.default_rng(0)
    runs = [adaptive_search(rng) for _ in range(800)]
    bests = np.array([run.min() for run in runs]).reshape(-1, 8)
    by_sweeps = np.mean([rank_test(eight[:4], eight[4:]).p <= 0.05 for eight in bests])
    pairs = zip(runs[::2], runs[1::2], strict=True)
    by_trials = np.mean([precedence(*sorted(pair, key=np.min))[1] <= 0.05 for pair in pairs])
    assert by_sweeps <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 100)
    assert by_trials > 0.2
