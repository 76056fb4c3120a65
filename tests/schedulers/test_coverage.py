"""Ranges of predictions hold as often as they claim."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedulers.conformal import FEWEST, NOMINAL, widening

SIZES = st.floats(0, 100)


@pytest.mark.parametrize(
    ("misses", "factor"),
    [
        ([2.0] * (FEWEST - 1), None),  # too few to tell
        ([2.0] * FEWEST, 2.0),
        ([0.1] * FEWEST, 1.0),  # never narrowed
        ([3.0, 2.5, *[0.5] * 7], 3.0),  # of nine the largest
        ([3.0, 2.5, *[0.5] * 17], 2.5),  # of nineteen the second largest
    ],
)
def test_the_factor_is_a_conformal_quantile(misses: list[float], factor: float | None) -> None:
    assert widening(misses) == factor


@given(st.lists(SIZES, min_size=FEWEST, max_size=60))
def test_nine_of_ten_known_misses_lie_within_the_range(misses: list[float]) -> None:
    factor = widening(misses)
    assert factor is not None
    assert sum(miss <= factor for miss in misses) >= NOMINAL * len(misses)


@pytest.mark.parametrize("count", [5, 9, 15, 40])
def test_the_next_end_is_held_as_often_as_promised(count: int) -> None:
    """Of heavy-tailed misses, 4,000 draws: the share is within three standard errors, or above."""
    draws = np.abs(np.random.default_rng(count).standard_t(2, (4000, count + 1)))
    held = np.mean([row[-1] <= (widening(row[:-1].tolist()) or 0) for row in draws])
    promised = min(NOMINAL, count / (count + 1))
    assert held > promised - 3 * math.sqrt(promised * (1 - promised) / len(draws))
