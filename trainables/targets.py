"""Reads targets by their values and shape: classes, labels or numbers, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pandas as pd

from trainables.error_text import few
from trainables.outputs import OutputMeaning
from trainables.run_config import RunError

Task = Literal["regression", "classification"]
MAX_CLASSES = 20  # whole numbers with more distinct values are quantities, unless they number classes
SHOWN = 8  # number of values shown in errors


@dataclass(frozen=True, slots=True)
class Targets:
    """Targets of all rows.

    Attributes:
        values: class numbers (rows, ...), int64; or labels or numbers (rows, columns, ...), float32 or
            float64.
        task: "regression" or "classification".
        classes: names of the classes, in the order of their numbers; empty for numbers and for labels.
        labels: labels per row; 0 if a row has one class or numbers.
    """

    values: np.ndarray
    task: Task
    classes: tuple[str, ...] = ()
    labels: int = 0

    def __len__(self) -> int:
        return len(self.values)


def read_targets(
    y: Any, *, task: Task | None = None, criterion: OutputMeaning | None = None, where: str = "targets"
) -> Targets:
    """Targets as they are trained on.

    Their kind is determined by `task`, else by the criterion, else by the values: words and booleans are
    classes, and so are whole numbers with at most 20 distinct values, or that number classes from 0 without
    a gap. Any two distinct values are two classes.

    Args:
        y: (rows,) or (rows, columns, ...).
        task: the task if the user gives it.
        criterion: outputs and targets of the criterion; None if it is not one of torch's.
        where: name of the targets in errors.

    Raises:
        RunError: if the values do not fit the task.
    """
    values = as_array(y, where)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    layout = None if criterion is None else criterion.layout
    chosen = task or _task_by_criterion(values, criterion) or infer_task(values)
    if chosen == "regression":
        if values.dtype.kind not in "fiub":
            raise RunError(f"{where}: {few(np.unique(values), SHOWN)} are words; a regression is of numbers")
        return Targets(values.reshape(len(values), -1).astype(np.float64), "regression")
    if values.ndim > 1 and (layout == "labels" or (layout is None and _holds_or_not(values))):
        return _several_labels(values, where)
    if layout == "labels" and values.dtype.kind == "f" and _is_share(values):
        return Targets(values[:, None].astype(np.float32), "classification", (), 1)
    if values.dtype.kind == "f" and not _is_whole(values):
        raise RunError(
            f"{where}: {few(np.unique(values), SHOWN)} are no classes; for numbers use torch.nn.MSELoss, "
            "or set data_config.task: regression"
        )
    if values.dtype.kind == "f":
        values = values.astype(np.int64)
    return _classes(values, None if criterion is None else criterion.ignored, where)


def infer_task(values: np.ndarray) -> Task:
    """Classification for words, booleans and whole numbers that are few or class numbers, else regression."""
    if values.dtype.kind not in "fiu":
        return "classification"
    if values.dtype.kind == "f" or not len(values):
        return "regression"
    distinct = np.unique(values)
    return "classification" if len(distinct) <= MAX_CLASSES or _numbers_classes(distinct) else "regression"


def as_array(y: Any, where: str) -> np.ndarray:
    """Values as an array of numbers, booleans or text; an object array is converted by its values.

    Raises:
        RunError: if a value is missing or of another kind.
    """
    try:
        values: np.ndarray = np.asarray(y)
    except ValueError:
        raise RunError(f"{where}: rows of different lengths; return an array") from None
    if values.dtype.kind in "OUST":
        flat = values.reshape(-1).tolist()
        missing = np.flatnonzero(pd.isna(pd.Series(flat, dtype=object)))
        if len(missing):
            raise RunError(f"{where}: value {int(missing[0]) + 1} of {len(flat)} is missing; drop such rows")
        if any(isinstance(value, str) for value in flat):
            return np.array([str(value) for value in flat]).reshape(values.shape)
        try:
            plain = [float(value) if isinstance(value, Decimal) else value for value in flat]
            values = np.array(plain).reshape(values.shape)
        except (TypeError, ValueError):
            raise RunError(f"{where}: rows of different lengths; return an array") from None
    if values.dtype.kind not in "fiub":
        raise RunError(f"{where}: they are {values.dtype}; return numbers, booleans or words")
    return values


def join_targets(parts: Sequence[Any]) -> np.ndarray:
    """Targets of several splits in one array, so that all get the same class numbers."""
    return np.concatenate([np.asarray(part) for part in parts])


def _task_by_criterion(values: np.ndarray, criterion: OutputMeaning | None) -> Task | None:
    """The task by the criterion; None if the criterion is not one of torch's.

    With MSELoss, the default, whole numbers 0, 1, 2, ... are still taken for classes, so that a forgotten
    criterion is reported. So are words and booleans.
    """
    if criterion is None:
        return None
    if criterion.layout != "numbers":
        is_soft = values.dtype.kind == "f" and not _is_whole(values)
        return "regression" if is_soft and criterion.layout == "classes" else "classification"
    if values.dtype.kind in "fiu" and criterion.counts:
        return "regression"
    if values.dtype.kind not in "fiu":
        return "classification"
    few = values.dtype.kind in "iu" and len(distinct := np.unique(values)) <= MAX_CLASSES
    return "classification" if few and len(distinct) > 1 and _numbers_classes(distinct) else "regression"


def _classes(values: np.ndarray, ignored: int | None, where: str) -> Targets:
    """Class numbers from 0, in the order of the sorted distinct values; an ignored value is kept."""
    distinct = np.unique(values)
    codes = np.searchsorted(distinct, values)
    if ignored is not None and values.dtype.kind in "iu" and ignored in distinct:
        others = distinct[distinct != ignored]
        if not 0 <= ignored < len(others):
            distinct, codes = others, np.where(values == ignored, ignored, np.searchsorted(others, values))
        elif distinct[ignored] != ignored:
            # The criterion would ignore another class, which gets this number.
            raise RunError(
                f"{where}: ignore_index {ignored} would be the number of class {distinct[ignored]}; "
                "number the classes from 0, or ignore -100"
            )
    return Targets(codes.astype(np.int64), "classification", tuple(str(each) for each in distinct))


def _several_labels(values: np.ndarray, where: str) -> Targets:
    """Several labels per row, one per column: 1 or 0, 1 or -1, or a probability."""
    if values.dtype.kind in "fiub" and values.size:
        numbers: np.ndarray = values.astype(np.float32)
        if _holds_or_not(values) and numbers.min() < 0:
            numbers = (numbers + 1) / 2
        if bool(numbers.min() >= 0) and bool(numbers.max() <= 1):
            return Targets(numbers, "classification", (), values.shape[1])
    raise RunError(
        f"{where}: {tuple(values.shape)} with the values {few(np.unique(values), SHOWN)}; labels, several "
        "per row, are 1 where they hold and 0 where not"
    )


def _holds_or_not(values: np.ndarray) -> bool:
    """Whether all values are 0 or 1, or all are -1 or 1."""
    if values.dtype.kind not in "fiub":
        return False
    distinct = set(np.unique(values).tolist())
    return distinct <= {0, 1} or distinct <= {-1, 1}


def _is_share(values: np.ndarray) -> bool:
    """Whether all values are within 0 and 1, and not all whole."""
    return bool(((values >= 0) & (values <= 1)).all()) and not _is_whole(values)


def _is_whole(values: np.ndarray) -> bool:
    return bool((values == np.floor(values)).all())


def _numbers_classes(distinct: np.ndarray) -> bool:
    """Whether sorted whole numbers are 0, 1, 2, ... without a gap."""
    return int(distinct[0]) == 0 and int(distinct[-1]) == len(distinct) - 1
