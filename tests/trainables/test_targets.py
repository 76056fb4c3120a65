"""Targets by value and shape: no number moves to another row."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from trainables.criteria import CRITERIA, of_criterion
from trainables.run_config import RunError
from trainables.targets import read_targets

DOLLARS = [100, 250, 175, 300, 99]


@pytest.mark.parametrize(
    ("y", "classes", "codes"),
    [
        ([1, 3, 2], ("1", "2", "3"), [0, 2, 1]),  # not four classes
        ([-1, 1, 1], ("-1", "1"), [0, 1, 1]),
        ([7, 9], ("7", "9"), [0, 1]),
        (["no", "yes", "no"], ("no", "yes"), [0, 1, 0]),
        ([True, False], ("False", "True"), [1, 0]),
        ([[2], [1]], ("1", "2"), [1, 0]),  # a column
        ([0.0, 1.0, 1.0], ("0", "1"), [0, 1, 1]),
        (np.array([1, 2], dtype=object), ("1", "2"), [0, 1]),
        ([0, 1, -100], ("0", "1"), [0, 1, -100]),  # what CrossEntropyLoss ignores is no class
        ([[0, 1], [1, 2]], ("0", "1", "2"), [[0, 1], [1, 2]]),  # a class for each place of a row
    ],
)
def test_distinct_values_are_classes_whatever_they_are(y: Any, classes: Any, codes: Any) -> None:
    targets = read_targets(y, criterion=of_criterion("torch.nn.CrossEntropyLoss", {}))
    assert (targets.classes, targets.values.tolist(), targets.values.dtype) == (classes, codes, np.int64)


@pytest.mark.parametrize(
    ("y", "ignored", "classes", "codes"),
    [
        ([0, 2, 1, 0], 0, ("0", "1", "2"), [0, 2, 1, 0]),  # padding is a class that does not count
        ([0, 1, 255], 255, ("0", "1"), [0, 1, 255]),
        ([5, 9, 255], 255, ("5", "9"), [0, 1, 255]),
        ([1, 2, -1], -1, ("1", "2"), [0, 1, -1]),
    ],
)
def test_what_is_ignored_never_becomes_the_number_of_another_class(
    y: list[int], ignored: int, classes: Any, codes: list[int]
) -> None:
    criterion = of_criterion("torch.nn.CrossEntropyLoss", {"ignore_index": ignored})
    targets = read_targets(y, criterion=criterion)
    assert (targets.classes, targets.values.tolist()) == (classes, codes)


def test_an_ignored_number_that_another_class_would_get_is_refused() -> None:
    criterion = of_criterion("torch.nn.CrossEntropyLoss", {"ignore_index": 1})
    with pytest.raises(RunError, match="ignore_index 1 would be the number of class 5"):
        read_targets([1, 5, 9], criterion=criterion)


@pytest.mark.parametrize(
    ("y", "criterion", "task"),
    [
        (DOLLARS, "MSELoss", "regression"),  # the criterion decides
        (DOLLARS, "CrossEntropyLoss", "classification"),
        (DOLLARS, None, "classification"),
        (list(range(50, 400, 7)), None, "regression"),  # many whole numbers
        (list(range(100)) * 2, None, "classification"),  # which number classes
        ([0, 1, 2, 1], "MSELoss", "classification"),  # whoever forgot the criterion is told
        ([0.0, 1.0, 2.0], "MSELoss", "regression"),
        ([0, 3, 2, 1], "PoissonNLLLoss", "regression"),
        ([0, 1, 2, 1], "KLDivLoss", "classification"),
        ([0.5, 1.5], "CrossEntropyLoss", "regression"),
        ([0.5, 0.25], "BCELoss", "classification"),  # how likely it is
        (["a", "b"], "MSELoss", "classification"),
        ([Decimal("1.5"), Decimal("2.5")], None, "regression"),
    ],
)
def test_the_criterion_says_what_the_target_is_else_its_values(
    y: Any, criterion: str | None, task: str
) -> None:
    assert read_targets(y, criterion=CRITERIA.get(criterion)).task == task  # type: ignore[arg-type]


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_task_that_is_said_is_the_task(task: str) -> None:
    tasks = {read_targets(DOLLARS, task=task, criterion=each).task for each in CRITERIA.values()}  # type: ignore[arg-type]
    assert tasks == {task}


@pytest.mark.parametrize(
    ("y", "criterion", "values"),
    [
        ([[1, 0, 1], [0, 0, 1]], "BCEWithLogitsLoss", [[1, 0, 1], [0, 0, 1]]),
        ([[1, -1], [-1, -1]], "BCEWithLogitsLoss", [[1, 0], [0, 0]]),
        ([[0.25, 0.5]], "BCELoss", [[0.25, 0.5]]),
        ([[True, False]], None, [[1, 0]]),
    ],
)
def test_columns_that_hold_or_not_are_labels(y: Any, criterion: str | None, values: Any) -> None:
    targets = read_targets(y, criterion=CRITERIA.get(criterion))  # type: ignore[arg-type]
    assert (targets.labels, targets.classes, targets.values.tolist()) == (len(y[0]), (), values)


@given(
    arrays(np.int64, array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=5), elements=st.integers(0, 1))
)
def test_a_row_s_targets_stay_in_their_row(y: NDArray[Any]) -> None:
    for criterion in ("BCEWithLogitsLoss", "CrossEntropyLoss", None):
        values = read_targets(y, criterion=CRITERIA.get(criterion)).values  # type: ignore[arg-type]
        assert values.shape == y.shape
        assert (
            values == np.searchsorted(np.unique(y), y) if criterion == "CrossEntropyLoss" else values == y
        ).all()
    numbers = read_targets(y, task="regression").values
    assert (numbers == y.reshape(len(y), -1)).all()


@pytest.mark.parametrize(
    ("y", "criterion", "task", "line"),
    [
        (
            ["a", "b"],
            None,
            "regression",
            "the targets: a, b are words; a regression is of numbers",
        ),
        (
            [[1, 2], [3, 4]],
            "BCEWithLogitsLoss",
            None,
            "the targets: (2, 2) with the values 1, 2, 3, 4; labels, several per row, are 1 where they "
            "hold and 0 where not",
        ),
        (
            [0.5, 1.5, 2.5],
            None,
            "classification",
            "the targets: 0.5, 1.5, 2.5 are no classes; for numbers use torch.nn.MSELoss, or set "
            "data_config.task: regression",
        ),
        (["a", None, "b"], None, None, "the targets: value 2 of 3 is missing; drop such rows"),
        ([[1, 2], [3]], None, None, "the targets: rows of different lengths; return an array"),
    ],
)
def test_what_cannot_be_a_target_is_a_line_with_the_way_out(
    y: Any, criterion: str | None, task: str | None, line: str
) -> None:
    with pytest.raises(RunError) as caught:
        read_targets(y, task=task, criterion=CRITERIA.get(criterion), where="the targets")  # type: ignore[arg-type]
    assert str(caught.value) == line


def test_a_long_list_of_values_is_cut() -> None:
    with pytest.raises(RunError, match=r"0\.5, 1\.5, .* and 292 more are no classes"):
        read_targets(np.arange(300) + 0.5, task="classification")
