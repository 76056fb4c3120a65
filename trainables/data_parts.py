"""What trials train on: splits of rows, the parts of one training, and what is known of them."""

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
        x: (rows, ...), float32, or whole numbers where the data function gives such; named inputs lie side
            by side.
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
    """How many of some rows are trained on, in batches of so many.

    A last batch of a single row is left out: batch normalisation cannot be computed of one.

    >>> rows_in_batches(9, 4), rows_in_batches(10, 4), rows_in_batches(1, 4)
    (8, 10, 1)
    """
    return rows - 1 if rows % batch_size == 1 and rows > 1 else rows


@dataclass(frozen=True, slots=True)
class DataPart:
    """One training: the rows to train on, those to validate on, and the target's scale.

    Attributes:
        train: trained on.
        val: validated on; both are in memory, or both are loaded as they are needed.
        mean: subtracted from a regression target, (outputs,); 0 where nothing was.
        std: divided by, (outputs,); predictions are `std * output + mean` in the target's own units.
    """

    train: AnySplit
    val: AnySplit
    mean: np.ndarray = field(default_factory=lambda: np.zeros(1))
    std: np.ndarray = field(default_factory=lambda: np.ones(1))


@dataclass(frozen=True, slots=True)
class Data:
    """What trials train on.

    Attributes:
        parts: one, or one per fold.
        task: "regression" or "classification".
        classes: their number; 0 for a regression, and for several labels per row.
        fingerprint: sha256 over all arrays here; equal data, equal fingerprint.
        origin: which function and `data_config` they came from.
        names: what the classes are called, in the order of their numbers.
        labels: how many a row has; 0 where a row has one class or numbers.
        fields: how named inputs lie in a row; none where x is one array.
        inputs: "integer" or "float" where `data_config` says which of them a net gets.
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
        """Whether rows are loaded as they are needed, by a Dataset or DataLoader of the user's."""
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
        found = train.encoder.found.values if isinstance(train, LazySplit) else train.y
        return self.classes or self.labels or int(found.shape[1])
