"""Splits rows into training, validation and test rows, by a seed of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trainables.run_config import DATA_KEYS, RunConfig, RunError
from trainables.targets import Targets, Task


@dataclass(frozen=True, slots=True)
class SplitConfig:
    """The keys of `data_config` for the trainer.

    Attributes:
        split_seed: of the permutation.
        val_fraction: of all rows, in (0, 1).
        test_fraction: of all rows, in [0, 1).
        folds: at least 2, or None for one split.
        stratify: whether every part has its share of each class.
        task: kind of the targets; None to determine it by the criterion and the values.
        inputs: type in which a net gets whole-number inputs; None for what the net takes.
        num_workers: processes that load the rows of a Dataset or DataLoader, >= 0; None for the DataLoader's
            own number, or none.
        steps_per_epoch: batches of an epoch of a stream, >= 1; None for as many as it has rows for.
        validation_steps: batches of a stream that are validated on, >= 1; None for all.
        num_classes: number of classes, >= 2, numbered from 0; given, a Dataset is not read for its targets.
        preload: whether Datasets and DataLoaders are read once into memory.

    Raises:
        RunError: for an invalid value.
    """

    split_seed: int = 0
    val_fraction: float = 0.2
    test_fraction: float = 0.2
    folds: int | None = None
    stratify: bool = False
    task: Task | None = None
    inputs: Literal["integer", "float"] | None = None
    num_workers: int | None = None
    steps_per_epoch: int | None = None
    validation_steps: int | None = None
    num_classes: int | None = None
    preload: bool = False

    def __post_init__(self) -> None:
        for key, lowest in (("val_fraction", "more than 0"), ("test_fraction", "at least 0")):
            value = getattr(self, key)
            is_number = type(value) in (int, float)
            if not is_number or not 0 <= value < 1 or (value == 0 and key == "val_fraction"):
                raise RunError(f"data_config.{key}: a number, {lowest} and less than 1, not {value!r}")
        if self.task not in (None, "regression", "classification"):
            raise RunError(f"data_config.task: 'regression' or 'classification', not {self.task!r}")
        if self.inputs not in (None, "integer", "float"):
            raise RunError(f"data_config.inputs: 'integer' or 'float', not {self.inputs!r}")
        for key in ("stratify", "preload"):
            if not isinstance(getattr(self, key), bool):
                raise RunError(f"data_config.{key}: true or false, not {getattr(self, key)!r}")
        minima = {"split_seed": 0, "folds": 2, "num_workers": 0, "steps_per_epoch": 1, "validation_steps": 1}
        minima["num_classes"] = 2
        for key, minimum in minima.items():
            value = getattr(self, key)
            if value is not None and not (type(value) is int and value >= minimum):
                raise RunError(f"data_config.{key}: a whole number, at least {minimum}, not {value!r}")

    @classmethod
    def of(cls, run: RunConfig) -> SplitConfig:
        """The keys of a run config."""
        return cls(**{key: value for key, value in run.data_config.items() if key in DATA_KEYS})

    def divide(
        self, targets: Targets, folds: int | None = None, rows: int | None = None
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
        """`split` of the rows of these targets, or of `rows` rows if not all targets have been read.

        Raises:
            RunError: if a part would have no row, or `stratify` is set and rows do not have one class each.
        """
        if self.stratify and (targets.task == "regression" or targets.values.ndim > 1):
            raise RunError("data_config.stratify: only rows of one class each can be split by class")
        classes = targets.values if self.stratify else None
        return split(
            len(targets) if rows is None else rows,
            folds,
            self.split_seed,
            self.val_fraction,
            self.test_fraction,
            classes=classes,
        )


def split(
    rows: int,
    folds: int | None,
    seed: int,
    val_fraction: float,
    test_fraction: float,
    classes: np.ndarray | None = None,
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Divide row numbers into (train, val) pairs, one or one per fold, and test.

    The test rows are the first of the seeded permutation, so folds do not change them. With the rows'
    `classes`, each class is spread evenly over the permutation, so that every part has its share of it.

    Raises:
        RunError: if a split would have no row.

    >>> pairs, test = split(10, None, 0, 0.2, 0.2)
    >>> [len(part) for part in (*pairs[0], test)]
    [6, 2, 2]
    """
    order = np.random.default_rng(seed).permutation(rows)
    if classes is not None:
        order = order[np.argsort(_evenly(classes[order]), kind="stable")]
    test, rest = np.split(order, [round(test_fraction * rows)])
    if folds is None:
        val, train = np.split(rest, [round(val_fraction * rows)])
        pairs = [(train, val)]
    else:
        blocks = np.array_split(rest, folds)
        pairs = [
            (np.concatenate([*blocks[:fold], *blocks[fold + 1 :]]), blocks[fold]) for fold in range(folds)
        ]
    if any(len(train) == 0 or len(val) == 0 for train, val in pairs):
        raise RunError(
            f"data_config: {rows} rows are too few for test_fraction {test_fraction} and "
            + (f"val_fraction {val_fraction}" if folds is None else f"{folds} folds")
            + "; lower them, or collect more rows"
        )
    return pairs, test


def _evenly(classes: np.ndarray) -> np.ndarray:
    """Positions in (0, 1) that spread the rows of each class evenly, in their order.

    >>> _evenly(np.array([1, 1, 0, 1, 1])).tolist()
    [0.125, 0.375, 0.5, 0.625, 0.875]
    """
    positions = np.empty(len(classes))
    for each in np.unique(classes):
        (rows,) = np.nonzero(classes == each)
        positions[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return positions
