"""Rows of a split that equal a training row: a leak, or the effect of few and coarse columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris

from raysweep.advice.data import facts_of
from trainables.data import Data, DataPart, Split, load_whole
from trainables.run_config import RunConfig


def load_with(seed: int, name: str) -> tuple[Any, ...]:
    """A data set of scikit-learn, split with this seed."""
    config = {"split_seed": seed, "name": name}
    run = RunConfig(
        data="tests.preflight.test_leak.bundled", data_config=config, criterion="torch.nn.CrossEntropyLoss"
    )
    return load_whole(run)


def bundled(name: str) -> tuple[Any, ...]:
    """Iris; or coarse columns like the Titanic's: sex, class, age, relatives aboard, and survival."""
    if name == "iris":
        x, y = load_iris(return_X_y=True)
        return x, y
    rng = np.random.default_rng(0)
    sex, *others = (rng.integers(*ends, 890) for ends in ((0, 2), (1, 4), (15, 80), (0, 4)))
    survived = rng.random(890) < 0.2 + 0.5 * sex
    return np.stack([sex, *others], 1).astype(float), survived.astype(int)


def leaks(data: Data, whole: DataPart, test: Split | None) -> list[Any]:
    facts = facts_of(data, whole, test)
    return [
        facts.leaks(facts.test_in_train, facts.test_rows),
        facts.leaks(facts.val_in_train, facts.first_val_rows),
    ]


@pytest.mark.parametrize("name", ["iris", "coarse"])
def test_rows_that_are_equal_by_coincidence_are_no_leak(name: str) -> None:
    """Iris has two equal flowers, which 52 of 100 seeds separate; coarse columns always have equal rows."""
    assert not any(any(leaks(*load_with(seed, name))) for seed in range(30))


@pytest.mark.parametrize(
    ("shape", "values"), [((300, 1), None), ((30_000, 1), None), ((300, 64), 17), ((300, 200), 2)]
)
def test_rows_that_stand_twice_are_a_leak(shape: tuple[Any, ...], values: int | None) -> None:
    """Two columns of real numbers are enough, the target included, or many coarse ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape) if values is None else rng.integers(0, values, shape)
    x = np.concatenate([x, x[: len(x) // 5]]).astype(np.float32)  # type: ignore[assignment]
    x = x[rng.permutation(len(x))]
    y = x.sum(1, keepdims=True) if values else np.exp(x)
    ends = [2 * len(x) // 3, 5 * len(x) // 6]
    train, val, test = map(Split, np.split(x, ends), np.split(y, ends))
    whole = DataPart(train, val)
    assert leaks(Data((whole,), "regression", 0, "", ""), whole, test) == [True, True]


def test_coarse_rows_that_are_validated_and_trained_on_are_a_leak() -> None:
    _, whole, _ = load_with(0, "coarse")
    taken = replace(whole, val=Split(whole.train.x[:200], whole.train.y[:200]))
    assert leaks(Data((taken,), "classification", 2, "", ""), taken, None) == [False, True]
