"""Rows that stay in a user's Dataset or DataLoader until a batch needs them.

A `LazySplit` is pickled without its dataset; the receiving process makes its own by calling the data
function (`trainables.data.reopen`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainables.run_config import RunError
from trainables.targets import Targets, as_array

PRELOAD = "set data_config.preload: true to read them once into memory"


@dataclass(frozen=True, slots=True)
class TargetEncoder:
    """Encodes the targets of a batch like those of all rows.

    Attributes:
        targets: the targets by which the task and the classes were determined.
        distinct: values of the classes, sorted; None if targets are class numbers already.
        codes: numbers of these classes.
        signed: whether a label that does not hold is -1.
        where: name of the targets in errors.
    """

    targets: Targets
    distinct: np.ndarray | None
    codes: np.ndarray | None
    signed: bool
    where: str

    @classmethod
    def of(cls, targets: Targets, raw: np.ndarray | None, where: str) -> TargetEncoder:
        """The encoder that maps the values `raw` to `targets`; `raw` is None for class numbers."""
        if raw is None or targets.task == "regression" or targets.labels:
            signed = bool(targets.labels) and raw is not None and bool(np.min(raw) < 0)
            return cls(targets, None, None, signed, where)
        distinct, first = np.unique(raw.reshape(-1), return_index=True)
        return cls(targets, distinct, targets.values.reshape(-1)[first], False, where)

    def encode(self, y: Any) -> np.ndarray:
        """Class numbers, int64; or labels or numbers (rows, columns, ...), float32.

        Raises:
            RunError: for a class that was not among the targets when they were read.
        """
        values = raw_targets(y, self.where)
        if self.targets.task == "regression":
            return values.reshape(len(values), -1).astype(np.float32)
        if self.targets.labels:
            shaped = values[:, None] if values.ndim == 1 else values
            labels: np.ndarray = ((shaped + 1) / 2 if self.signed else shaped).astype(np.float32)
            return labels
        if self.distinct is None or self.codes is None:
            numbers: np.ndarray = values.astype(np.int64)
            if numbers.size and int(numbers.max()) >= len(self.targets.classes):
                raise RunError(
                    f"{self.where}: one is {int(numbers.max())}, and data_config.num_classes is "
                    f"{len(self.targets.classes)}; classes are numbered from 0"
                )
            return numbers
        indices = np.minimum(np.searchsorted(self.distinct, values), len(self.distinct) - 1)
        unknown = self.distinct[indices] != values
        if unknown.any():
            raise RunError(
                f"{self.where}: {values[unknown].reshape(-1)[0]} was not among them when they were read; "
                "number the classes from 0 and set data_config.num_classes"
            )
        codes: np.ndarray = self.codes[indices]
        return codes


def raw_targets(y: Any, where: str) -> np.ndarray:
    """Targets as an array, (rows, ...); a single column becomes (rows,)."""
    values = as_array(y, where)
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


@dataclass(frozen=True)
class LazySplit:
    """Rows of a user's Dataset or DataLoader, loaded when a batch needs them.

    Attributes:
        source: the Dataset or DataLoader; None after unpickling.
        which: its index among the sources that the data function returned.
        name: the data function.
        rows: indices of the rows in the source; None for all, in the source's own order.
        length: rows of an epoch.
        example: inputs of the first rows, (few, ...), as `Split.x`.
        encoder: encodes targets.
        targets: of all rows, as `Split.y`; None if they have not been read.
        steps: batches of an epoch of a stream, if the config gives them.
        num_workers: loading processes; None for those of the DataLoader, or none.
    """

    source: Any
    which: int
    name: str
    rows: np.ndarray | None
    length: int
    example: np.ndarray
    encoder: TargetEncoder
    targets: np.ndarray | None
    steps: int | None
    num_workers: int | None

    def __len__(self) -> int:
        return self.length

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"source": None}

    @property
    def x(self) -> np.ndarray:
        """Not available: inputs are not in memory.

        Raises:
            RunError: always.
        """
        raise RunError(f"{self.name}: its rows are loaded as they are needed, and here all are; {PRELOAD}")

    @property
    def y(self) -> np.ndarray:
        """Targets of all rows.

        Raises:
            RunError: if they have not been read.
        """
        if self.targets is None:
            raise RunError(
                f"{self.name}: the targets of all rows are needed, and they were not read (it is a stream, "
                f"or data_config.num_classes says what they are); leave num_classes out, or {PRELOAD}"
            )
        return self.targets

    def chosen(self, rows: np.ndarray) -> LazySplit:
        """Some of the rows, by their indices among these.

        Raises:
            RunError: if rows of the source cannot be chosen.
        """
        if self.rows is None:
            raise RunError(
                f"{self.name}: it returned a stream, or a DataLoader with a sampler of its own, of which no "
                "rows can be chosen (data_fraction)"
            )
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, rows=self.rows[rows], length=len(rows), targets=targets)
