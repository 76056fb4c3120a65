"""Functional ANOVA over a random forest, single parameters and pairs; the same numbers as Optuna's, sooner.

Hutter, Hoos, Leyton-Brown: "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014.

Optuna walks each tree once for each split value, in Python: a minute and more for a thousand trials. Here
a leaf is a box of the search space, and the marginal over a grid of split values is a cumulative sum
over the boxes' corners (tests/report/test_fanova.py holds it against Optuna's).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

Array = NDArray[np.float64]
TREES, DEPTH = 64, 64  # optuna.importance.FanovaImportanceEvaluator's


@dataclass(frozen=True)
class Columns:
    """Parameters as columns of numbers: a choice has one for each of its choices.

    Attributes:
        names: the parameters, those with a single value left out.
        of: the columns of each.
        bounds: low and high of each column, (columns, 2).
    """

    names: tuple[str, ...]
    of: tuple[tuple[int, ...], ...]
    bounds: Array


def columns(distributions: dict[str, BaseDistribution]) -> Columns:
    """Lay out parameters as columns, unscaled: splits of a tree do not see a logarithm."""
    names: list[str] = []
    places: list[tuple[int, ...]] = []
    bounds: list[tuple[float, float]] = []
    for name, distribution in distributions.items():
        if distribution.single():
            continue
        if isinstance(distribution, CategoricalDistribution):
            own = [(0.0, 1.0)] * len(distribution.choices)
        else:
            own = [(float(getattr(distribution, "low")), float(getattr(distribution, "high")))]  # noqa: B009
        names.append(name)
        places.append(tuple(range(len(bounds), len(bounds) + len(own))))
        bounds += own
    return Columns(tuple(names), tuple(places), np.array(bounds, dtype=float).reshape(-1, 2))


def encode(
    rows: Sequence[dict[str, Any]], distributions: dict[str, BaseDistribution], cols: Columns
) -> Array:
    """Trials' parameters as a matrix, (trials, columns)."""
    matrix = np.zeros((len(rows), len(cols.bounds)))
    for name, places in zip(cols.names, cols.of, strict=True):
        distribution = distributions[name]
        for place, values in enumerate(rows):
            at = distribution.to_internal_repr(values[name])
            if isinstance(distribution, CategoricalDistribution):
                matrix[place, places[int(at)]] = 1.0
            else:
                matrix[place, places[0]] = at
    return matrix


class Fanova:
    """A forest fitted to trials, which answers how much of its variance parameters explain.

    Args:
        cols: the columns of `x`.
        x: encoded trials, (trials, columns).
        y: their values, (trials,).
        trees: of the forest.
        seed: of the forest.
    """

    def __init__(self, cols: Columns, x: Array, y: Array, *, trees: int = TREES, seed: int = 0) -> None:
        from sklearn.ensemble import RandomForestRegressor

        forest = RandomForestRegressor(n_estimators=trees, max_depth=DEPTH, random_state=seed).fit(x, y)
        self.cols = cols
        self._trees = [_Boxes(each.tree_, cols.bounds) for each in forest.estimators_]
        self._trees = [tree for tree in self._trees if tree.variance > 0]

    @property
    def flat(self) -> bool:
        """Whether the values do not vary at all: then nothing explains anything."""
        return not self._trees

    def single(self, place: int) -> float:
        """The share of variance that one parameter explains by itself, the mean over the trees."""
        own = self.cols.of[place]
        return float(np.mean([tree.marginal_variance(own) / tree.variance for tree in self._trees]))

    def pair(self, one: int, other: int) -> float:
        """The share of variance that two parameters explain only together."""
        shares = []
        for tree in self._trees:
            together = tree.marginal_variance(self.cols.of[one] + self.cols.of[other])
            alone = tree.marginal_variance(self.cols.of[one]) + tree.marginal_variance(self.cols.of[other])
            shares.append(max(together - alone, 0.0) / tree.variance)
        return float(np.mean(shares))


class _Boxes:
    """A tree's leaves as boxes of the unit cube."""

    def __init__(self, tree: Any, bounds: Array) -> None:
        width = np.where(bounds[:, 1] > bounds[:, 0], bounds[:, 1] - bounds[:, 0], 1.0)
        feature, left, right = tree.feature, tree.children_left, tree.children_right
        low, high = np.zeros((tree.node_count, len(bounds))), np.ones((tree.node_count, len(bounds)))
        scaled = (tree.threshold - bounds[np.maximum(feature, 0), 0]) / width[np.maximum(feature, 0)]
        for node in np.nonzero(feature >= 0)[0]:  # a parent's number is below its children's
            one, other, axis = left[node], right[node], feature[node]
            low[one] = low[other] = low[node]
            high[one] = high[other] = high[node]
            high[one, axis] = low[other, axis] = scaled[node]
        leaves = feature < 0
        self._low, self._high = low[leaves], high[leaves]
        self._value = tree.value[leaves].reshape(-1)
        self._known: dict[tuple[int, ...], float] = {}

    @cached_property
    def _sides(self) -> Array:
        sides: Array = self._high - self._low
        return sides

    @cached_property
    def variance(self) -> float:
        """Of the tree's prediction over the whole space."""
        return _variance(self._value, self._sides.prod(axis=1))

    def marginal_variance(self, axes: tuple[int, ...]) -> float:
        """Of the prediction averaged over all other axes."""
        axes = tuple(sorted(axes))
        if axes not in self._known:
            self._known[axes] = self._marginal_variance(axes)
        return self._known[axes]

    def _marginal_variance(self, axes: tuple[int, ...]) -> float:
        rest = np.delete(self._sides, axes, axis=1).prod(axis=1)
        edges = [np.unique(np.concatenate((self._low[:, axis], self._high[:, axis]))) for axis in axes]
        starts = [np.searchsorted(edge, self._low[:, axis]) for edge, axis in zip(edges, axes, strict=True)]
        ends = [np.searchsorted(edge, self._high[:, axis]) for edge, axis in zip(edges, axes, strict=True)]
        marginal = np.zeros([len(edge) for edge in edges])
        for corner in itertools.product((False, True), repeat=len(axes)):
            at = tuple(end if far else start for far, start, end in zip(corner, starts, ends, strict=True))
            np.add.at(marginal, at, (-1.0) ** sum(corner) * rest * self._value)
        for axis in range(len(axes)):
            marginal = np.cumsum(marginal, axis=axis)
        inside = marginal[tuple(slice(0, -1) for _ in axes)]
        sizes = np.ones(())
        for edge in edges:
            sizes = np.multiply.outer(sizes, np.diff(edge))
        return _variance(inside.ravel(), sizes.ravel())


def _variance(values: Array, weights: Array) -> float:
    mean = np.average(values, weights=weights)
    return float(np.average((values - mean) ** 2, weights=weights))
