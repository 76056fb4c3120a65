"""The data of a trial: splits of rows, the parts of one training, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from trainables.input_fields import InputField
from trainables.lazy_split import LazySplit
from trainables.targets import Task


@dataclass(frozen=True, slots=True)
class Split:
    """Inputs and targets of some rows.

    Attributes:
        x: (rows, ...), float32, or whole numbers if the data function returns such; named inputs are packed
            side by side.
        y: class numbers (rows, ...), int64; or labels or numbers (rows, columns, ...), float32.
    """

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    @property
    def example(self) -> np.ndarray:
        """Inputs of the first rows, at most two."""
        return self.x[:2]

    def chosen(self, rows: np.ndarray) -> Split:
        """Some of the rows."""
        return Split(self.x[rows], self.y[rows])


AnySplit = Split | LazySplit


def rows_in_batches(rows: int, batch_size: int) -> int:
    """Number of rows that are trained on in batches: a last batch of a single row is left out.

    Batch normalisation cannot be computed for one row.

    >>> rows_in_batches(9, 4), rows_in_batches(10, 4), rows_in_batches(1, 4)
    (8, 10, 1)
    """
    return rows - 1 if rows % batch_size == 1 and rows > 1 else rows


@dataclass(frozen=True, slots=True)
class DataPart:
    """One training: the rows to train on, those to validate on, and the target's scale.

    Attributes:
        train: rows trained on.
        val: rows validated on; both are in memory, or both are lazy.
        mean: was subtracted from a regression target, (outputs,); 0 if nothing was.
        std: the target was divided by it, (outputs,); predictions are `std * output + mean` in the target's
            own units.
    """

    train: AnySplit
    val: AnySplit
    mean: np.ndarray = field(default_factory=lambda: np.zeros(1))
    std: np.ndarray = field(default_factory=lambda: np.ones(1))


@dataclass(frozen=True, slots=True)
class Data:
    """The data that trials train on.

    Attributes:
        parts: one, or one per fold.
        task: "regression" or "classification".
        classes: number of classes; 0 for a regression, and for several labels per row.
        fingerprint: sha256 over all arrays; equal for equal data.
        origin: the function and `data_config` that they came from.
        names: names of the classes, in the order of their numbers.
        labels: labels per row; 0 if a row has one class or numbers.
        fields: layout of named inputs in a row; empty if x is one array.
        inputs: "integer" or "float" if `data_config.inputs` is given.
    """

    parts: tuple[DataPart, ...]
    task: Task
    classes: int
    fingerprint: str
    origin: str
    names: tuple[str, ...] = ()
    labels: int = 0
    fields: tuple[InputField, ...] = ()
    inputs: str | None = None

    @property
    def x_train(self) -> np.ndarray:
        """Inputs trained on, of the first part."""
        return self.parts[0].train.x

    @property
    def y_train(self) -> np.ndarray:
        """Targets trained on, of the first part."""
        return self.parts[0].train.y

    @property
    def x_val(self) -> np.ndarray:
        """Inputs validated on, of the first part."""
        return self.parts[0].val.x

    @property
    def y_val(self) -> np.ndarray:
        """Targets validated on, of the first part."""
        return self.parts[0].val.y

    @property
    def is_lazy(self) -> bool:
        """Whether rows are loaded as they are needed, by a user's Dataset or DataLoader."""
        return isinstance(self.parts[0].train, LazySplit)

    @property
    def example(self) -> np.ndarray:
        """Inputs of the first training rows, at most two."""
        return self.parts[0].train.example

    @property
    def in_features(self) -> int:
        """Numbers per input row."""
        return int(np.prod(self.example.shape[1:]))

    @property
    def out_features(self) -> int:
        """Numbers per output row: the classes, the labels, or the columns of the target."""
        train = self.parts[0].train
        targets = train.encoder.targets.values if isinstance(train, LazySplit) else train.y
        return self.classes or self.labels or int(targets.shape[1])
