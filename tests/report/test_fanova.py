"""fANOVA against functions whose shares are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from raysweep.report.fanova import Fanova, axes_of, encode

RATE = FloatDistribution(1e-4, 1e-1, log=True)
DROPOUT = FloatDistribution(0.0, 0.5)
LAYERS = IntDistribution(1, 4)
NODES = IntDistribution(1, 100, log=True)
WIDTH = FloatDistribution(0.0, 1.0, step=0.25)
NORM = CategoricalDistribution(("none", "batch", "layer"))


def unit(value: float, kind: FloatDistribution | IntDistribution) -> float:
    if isinstance(kind, IntDistribution) and kind.log:
        low, high = kind.low - 0.5, kind.high + 0.5
    else:
        low, high = kind.low, kind.high
    if kind.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


def sample(kind: BaseDistribution, u: float) -> Any:
    """The value at a quantile of a distribution, as Optuna's random sampler draws it."""
    if isinstance(kind, CategoricalDistribution):
        return kind.choices[int(u * len(kind.choices))]
    assert isinstance(kind, FloatDistribution | IntDistribution)
    if isinstance(kind, IntDistribution) and kind.log:
        value = math.exp(math.log(kind.low - 0.5) + u * math.log((kind.high + 0.5) / (kind.low - 0.5)))
        return min(max(round(value), kind.low), kind.high)
    if kind.step:
        return kind.low + kind.step * int(u * (round((kind.high - kind.low) / kind.step) + 1))
    if kind.log:
        return kind.low * (kind.high / kind.low) ** u
    return kind.low + u * (kind.high - kind.low)


STEEP_THEN_FLAT = (  # of the issue: only the lower half of the rate's decades matters
    {"lr": RATE, "dropout": DROPOUT},
    lambda p: 4 * max(0.0, 0.5 - unit(p["lr"], RATE)) + p["dropout"],
    {"lr": 0.952, "dropout": 0.048},
)
THREE_CHOICES = (  # variance of 0, 1, 5 is 14/3; of 2 u it is 1/3
    {"norm": NORM, "lr": RATE},
    lambda p: {"none": 0, "batch": 1, "layer": 5}[p["norm"]] + 2 * unit(p["lr"], RATE),
    {"norm": 14 / 15, "lr": 1 / 15},
)
STEPS = (  # of 1 to 4 it is 5/4, of four times {0, 1/4, ..., 1} it is 2
    {"layers": LAYERS, "width": WIDTH},
    lambda p: p["layers"] + 4 * p["width"],
    {"layers": 1.25 / 3.25, "width": 2 / 3.25},
)
LOG_INTEGERS = (  # linear in the logarithm, 1 is a tenth of all draws; both spread alike but for rounding
    {"nodes": NODES, "lr": RATE},
    lambda p: unit(p["nodes"], NODES) + unit(p["lr"], RATE),
    {"nodes": 0.5, "lr": 0.5},
)


@pytest.mark.parametrize("case", [STEEP_THEN_FLAT, THREE_CHOICES, STEPS, LOG_INTEGERS])
def test_shares_are_those_of_the_space_as_it_is_sampled(case: tuple[Mapping[str, Any], Any, Any]) -> None:
    kinds, function, truth = case
    grid = (np.arange(24) + 0.5) / 24
    rows = [
        {name: sample(kind, u) for (name, kind), u in zip(kinds.items(), at, strict=True)}
        for at in itertools.product(grid, repeat=len(kinds))
    ]
    axes = axes_of(kinds)
    forest = Fanova(axes, encode(rows, axes), np.array([function(row) for row in rows]), trees=8)
    shares = np.array([forest.single(place) for place in range(len(axes))])
    assert dict(zip(kinds, shares / shares.sum(), strict=True)) == pytest.approx(truth, abs=0.02)


def test_a_product_is_explained_only_together() -> None:
    """In (u - 1/2)(v - 1/2) neither factor explains anything alone."""
    kinds = {"lr": RATE, "dropout": DROPOUT}
    grid = (np.arange(40) + 0.5) / 40
    rows = [{"lr": sample(RATE, u), "dropout": sample(DROPOUT, v)} for u in grid for v in grid]
    axes = axes_of(kinds)
    y = np.array([(u - 0.5) * (v - 0.5) for u in grid for v in grid])
    forest = Fanova(axes, encode(rows, axes), y, trees=4)
    assert forest.single(0) < 0.02
    assert forest.single(1) < 0.02
    assert forest.pair(0, 1) > 0.95


def test_a_parameter_with_one_value_has_no_axis() -> None:
    assert [axis.name for axis in axes_of({"a": FloatDistribution(1.0, 1.0), "b": RATE})] == ["b"]
