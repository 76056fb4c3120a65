"""Rows that stay in a user's Dataset or DataLoader: what is known of them before they are loaded.

A `LazySplit` can be sent to another process: it leaves its dataset behind, which that process makes anew by
calling the data function (`trainables.data.reopen`).
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
    """Targets of a batch, as those of all rows were taken.

    Attributes:
        found: what the targets are.
        distinct: values of the classes, sorted; None where class numbers are taken as they are.
        codes: their numbers.
        signed: whether a label that does not hold is -1.
        where: what a message calls them.
    """

    found: Targets
    distinct: np.ndarray | None
    codes: np.ndarray | None
    signed: bool
    where: str

    @classmethod
    def of(cls, found: Targets, raw: np.ndarray | None, where: str) -> TargetEncoder:
        """The encoder of targets that came of the values `raw`; None for class numbers as they are."""
        if raw is None or found.task == "regression" or found.labels:
            signed = bool(found.labels) and raw is not None and bool(np.min(raw) < 0)
            return cls(found, None, None, signed, where)
        distinct, first = np.unique(raw.reshape(-1), return_index=True)
        return cls(found, distinct, found.values.reshape(-1)[first], False, where)

    def encode(self, y: Any) -> np.ndarray:
        """Class numbers, int64; or labels or numbers (rows, columns, ...), float32.

        Raises:
            RunError: for a class that was not among the targets when they were read.
        """
        values = raw_targets(y, self.where)
        if self.found.task == "regression":
            return values.reshape(len(values), -1).astype(np.float32)
        if self.found.labels:
            shaped = values[:, None] if values.ndim == 1 else values
            labels: np.ndarray = ((shaped + 1) / 2 if self.signed else shaped).astype(np.float32)
            return labels
        if self.distinct is None or self.codes is None:
            numbers: np.ndarray = values.astype(np.int64)
            if numbers.size and int(numbers.max()) >= len(self.found.classes):
                raise RunError(
                    f"{self.where}: one is {int(numbers.max())}, and data_config.num_classes is "
                    f"{len(self.found.classes)}; classes are numbered from 0"
                )
            return numbers
        places = np.minimum(np.searchsorted(self.distinct, values), len(self.distinct) - 1)
        strange = self.distinct[places] != values
        if strange.any():
            raise RunError(
                f"{self.where}: {values[strange].reshape(-1)[0]} was not among them when they were read; "
                "number the classes from 0 and set data_config.num_classes"
            )
        found: np.ndarray = self.codes[places]
        return found


def raw_targets(y: Any, where: str) -> np.ndarray:
    """Targets as they come, (rows, ...); a single column is none."""
    values = as_array(y, where)
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


@dataclass(frozen=True)
class LazySplit:
    """Rows of a user's Dataset or DataLoader, each loaded when a batch wants it.

    Attributes:
        source: the Dataset or DataLoader; None where it has been left behind.
        which: its place among those that the data function returned.
        name: the data function.
        rows: places of the rows in the source; None for all, in the order that it has itself.
        length: rows of an epoch.
        example: inputs of the first rows, (few, ...), as `Split.x`.
        encoder: of targets.
        targets: of all rows, as `Split.y`; None where they have not been read.
        steps: batches of an epoch, where the file says it of a stream.
        num_workers: processes that load; None for those of the DataLoader, or none.
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
        """Inputs of all rows, which are not there.

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
        """Some of the rows, by their places among these.

        Raises:
            RunError: if rows cannot be chosen of the source.
        """
        if self.rows is None:
            raise RunError(
                f"{self.name}: it returned a stream, or a DataLoader with a sampler of its own, of which no "
                "rows can be chosen (data_fraction)"
            )
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, rows=self.rows[rows], length=len(rows), targets=targets)
