"""Functional ANOVA over a random forest: the variance that parameters explain, singly and in pairs.

Hutter, Hoos, Leyton-Brown: "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014.

The variance is taken over the search space as it is sampled: uniform in the logarithm of a `log` range, with
equal weight for each value of a stepped range and each choice. Optuna's evaluator weighs the leaves of a tree
in raw units and one-hot columns separately: nine tenths of a log range of three decades is then its last
decade.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Array = NDArray[np.float64]
TREES, DEPTH = 64, 64  # as optuna.importance.FanovaImportanceEvaluator
MANY_VALUES = 1000  # a stepped range of more values counts as continuous


@dataclass(frozen=True)
class Axis:
    """One parameter of the space.

    Attributes:
        name: of the parameter.
        distribution: its range or choices.
        columns: its columns in the encoded matrix: one, or one for each choice.
        weights: probability of each of its values, (values,); None for a continuous range.
    """

    name: str
    distribution: BaseDistribution
    columns: tuple[int, ...]
    weights: Array | None

    def encode(self, value: Any) -> list[float]:
        """A value as numbers: one-hot for a choice, its index in a stepped range, else from 0 to 1."""
        kind = self.distribution
        if isinstance(kind, CategoricalDistribution):
            chosen = int(kind.to_internal_repr(value))
            return [float(index == chosen) for index in range(len(self.columns))]
        assert isinstance(kind, FloatDistribution | IntDistribution)
        if self.weights is not None:
            return [float(round((value - kind.low) / (kind.step or 1)))]
        low, high, at = np.log([kind.low, kind.high, value]) if kind.log else (kind.low, kind.high, value)
        return [float((at - low) / (high - low))]


def axes_of(distributions: Mapping[str, BaseDistribution]) -> tuple[Axis, ...]:
    """Assign columns to the parameters; those with a single value are left out."""
    axes: list[Axis] = []
    first = 0
    for name, distribution in distributions.items():
        if distribution.single():
            continue
        width = len(distribution.choices) if isinstance(distribution, CategoricalDistribution) else 1
        axes.append(Axis(name, distribution, tuple(range(first, first + width)), _weights(distribution)))
        first += width
    return tuple(axes)


def _weights(distribution: BaseDistribution) -> Array | None:
    """Probability of each value under uniform sampling, as in Optuna; None for a continuous range."""
    if isinstance(distribution, CategoricalDistribution):
        return np.full(len(distribution.choices), 1 / len(distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.step is None:
        return None
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    if count > MANY_VALUES:
        return None
    if not distribution.log:
        return np.full(count, 1 / count)
    edges = np.log(np.arange(distribution.low, distribution.high + 2) - 0.5)  # of whole numbers
    weights: Array = np.diff(edges) / (edges[-1] - edges[0])
    return weights


def encode(rows: Sequence[Mapping[str, Any]], axes: Sequence[Axis]) -> Array:
    """Trials' parameters as a matrix, (trials, columns)."""
    return np.array([[number for axis in axes for number in axis.encode(row[axis.name])] for row in rows])


class Fanova:
    """A forest fitted to trials; computes how much of its variance parameters explain.

    Args:
        axes: the parameters.
        x: encoded trials, (trials, columns).
        y: their values, (trials,).
        trees: of the forest.
        seed: of the forest.
    """

    def __init__(
        self, axes: Sequence[Axis], x: Array, y: Array, *, trees: int = TREES, seed: int = 0
    ) -> None:
        from sklearn.ensemble import RandomForestRegressor

        forest = RandomForestRegressor(n_estimators=trees, max_depth=DEPTH, random_state=seed).fit(x, y)
        fitted = [_Leaves(each.tree_, axes) for each in forest.estimators_]
        self._trees = [tree for tree in fitted if tree.variance > 0]

    @property
    def flat(self) -> bool:
        """Whether the values do not vary at all; then no parameter explains anything."""
        return not self._trees

    def single(self, index: int) -> float:
        """The share of variance that one parameter explains by itself, the mean over the trees."""
        return float(np.mean([tree.main_effect(index) / tree.variance for tree in self._trees]))

    def pair(self, one: int, other: int) -> float:
        """The share of variance that two parameters explain only together."""
        shares = [tree.interaction(one, other) / tree.variance for tree in self._trees]
        return float(np.mean(shares))


class _Leaves:
    """A tree's leaves as products of sets of values, one set for each parameter.

    Each parameter's values are divided into cells that no leaf splits: its single values if it has weights,
    else the intervals between the tree's own thresholds.
    """

    def __init__(self, tree: Any, axes: Sequence[Axis]) -> None:
        low, high, value = _boxes(tree, sum(len(axis.columns) for axis in axes))
        cells = [_cells(axis, low, high) for axis in axes]
        self._inside = [inside for inside, _ in cells]  # of each parameter: (leaves, cells), 0 or 1
        self._weights = [weights for _, weights in cells]
        self._sizes = np.stack([inside @ weights for inside, weights in cells])  # (parameters, leaves)
        self._value = value
        self.variance = _variance(value, self._sizes.prod(axis=0))

    def main_effect(self, index: int) -> float:
        """Variance of the prediction averaged over all other parameters."""
        rest = np.delete(self._sizes, index, axis=0).prod(axis=0)
        return _variance(self._inside[index].T @ (rest * self._value), self._weights[index])

    def interaction(self, one: int, other: int) -> float:
        """Variance of the prediction averaged over all but two parameters, minus their main effects."""
        rest = np.delete(self._sizes, [one, other], axis=0).prod(axis=0)
        mean = self._inside[one].T @ ((rest * self._value)[:, None] * self._inside[other])
        weights = np.outer(self._weights[one], self._weights[other])
        together = _variance(mean.ravel(), weights.ravel())
        return max(together - self.main_effect(one) - self.main_effect(other), 0.0)


def _boxes(tree: Any, columns: int) -> tuple[Array, Array, Array]:
    """Bounds of a tree's leaves, (leaves, columns) each, low excluded, high included; and their values."""
    low, high = np.full((tree.node_count, columns), -np.inf), np.full((tree.node_count, columns), np.inf)
    for node in np.nonzero(tree.feature >= 0)[0]:  # a parent's number is below its children's
        left, right, column = tree.children_left[node], tree.children_right[node], tree.feature[node]
        low[left] = low[right] = low[node]
        high[left] = high[right] = high[node]
        high[left, column] = low[right, column] = tree.threshold[node]
    leaves = tree.feature < 0
    return low[leaves], high[leaves], tree.value[leaves].reshape(-1)


def _cells(axis: Axis, low: Array, high: Array) -> tuple[Array, Array]:
    """Which cells of a parameter each leaf contains, (leaves, cells), and the cells' probabilities."""
    own = list(axis.columns)
    if axis.weights is None:
        start, end = np.clip(low[:, own[0]], 0, 1), np.clip(high[:, own[0]], 0, 1)
        edges = np.unique(np.concatenate((start, end)))
        middle = (edges[:-1] + edges[1:]) / 2
        return ((start[:, None] < middle) & (middle < end[:, None])).astype(float), np.diff(edges)
    if isinstance(axis.distribution, CategoricalDistribution):
        values = np.eye(len(own))  # (choices, columns)
    else:
        values = np.arange(len(axis.weights), dtype=float)[:, None]
    inside = (low[:, None, own] < values) & (values <= high[:, None, own])
    return inside.all(axis=2).astype(float), axis.weights


def _variance(values: Array, weights: Array) -> float:
    mean = np.average(values, weights=weights)
    return float(np.average((values - mean) ** 2, weights=weights))
