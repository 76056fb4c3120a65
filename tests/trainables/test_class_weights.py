"""`balanced` weights: computed from the training rows only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.trainables.samples import run_of
from trainables.build import build_criterion
from trainables.class_weights import with_class_weights
from trainables.data import load
from trainables.run_config import RunConfig, RunError
from trainables.training import Training

HERE = "tests.trainables.test_class_weights."
X = np.zeros((10, 2), np.float32)


def split_classes() -> Any:
    """Six, three and no training rows of three classes; all validation rows are of the last."""
    return (X[:9], np.array([0] * 6 + [1] * 3)), (X, np.full(10, 2))


def split_two() -> Any:
    return (X[:8], np.array([0] * 6 + [1] * 2)), (X, np.ones(10, int))


def split_labels() -> Any:
    y = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    return (X[:4], y), (X, np.ones((10, 3), int))


def split_numbers() -> Any:
    return (X, np.linspace(0, 1, 10)), (X, np.linspace(0, 1, 10))


def balanced(data: str, criterion: str, name: str) -> RunConfig:
    fields = {"criterion": f"torch.nn.{criterion}", "criterion_config": {name: "balanced"}}
    return run_of(data=HERE + data, data_config={}, **fields)


@pytest.mark.parametrize(
    ("data", "criterion", "name", "weights"),
    [
        ("split_classes", "CrossEntropyLoss", "weight", [9 / 18, 9 / 9, 1.0]),
        ("split_two", "CrossEntropyLoss", "weight", [8 / 12, 8 / 4]),
        ("split_two", "BCEWithLogitsLoss", "pos_weight", [3.0]),
        ("split_labels", "BCEWithLogitsLoss", "pos_weight", [3.0, 1.0, 1.0]),
    ],
)
def test_balanced_weights_follow_the_training_rows(
    data: str, criterion: str, name: str, weights: list[float]
) -> None:
    run = run_of(
        data=HERE + data,
        data_config={},
        criterion=f"torch.nn.{criterion}",
        criterion_config={name: "balanced"},
    )
    loaded = load(run)
    numbers = with_class_weights(run, loaded, loaded.parts[0]).criterion_config[name]
    assert numbers == pytest.approx(weights)
    training = Training(run, loaded)
    assert torch.equal(getattr(training.learners[0].criterion, name), torch.tensor(numbers))


def test_a_run_without_balanced_weights_stays_as_it_is() -> None:
    run = run_of(data=HERE + "split_two", data_config={}, criterion="torch.nn.CrossEntropyLoss")
    assert with_class_weights(run, load(run), load(run).parts[0]) is run
    assert build_criterion(run) is not None


@pytest.mark.parametrize(
    ("data", "criterion", "name", "line"),
    [
        (
            "split_two",
            "BCEWithLogitsLoss",
            "weight",
            "criterion_config.weight: torch.nn.BCEWithLogitsLoss has one output per label; balance it by "
            "pos_weight: balanced (torch.nn.BCEWithLogitsLoss)",
        ),
        (
            "split_numbers",
            "MSELoss",
            "weight",
            "criterion_config.weight: balanced is of classes, and the data have numbers to predict",
        ),
        (
            "split_classes",
            "CrossEntropyLoss",
            "pos_weight",
            "criterion_config.pos_weight: balanced is of labels or two classes, and the data have 3 classes",
        ),
    ],
)
def test_what_cannot_be_balanced_is_a_line(data: str, criterion: str, name: str, line: str) -> None:
    run = run_of(
        data=HERE + data,
        data_config={},
        criterion=f"torch.nn.{criterion}",
        criterion_config={name: "balanced"},
    )
    with pytest.raises(RunError) as caught:
        with_class_weights(run, load(run), load(run).parts[0])
    assert str(caught.value) == line
