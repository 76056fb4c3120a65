"""Makes a net's inputs from the columns of a raw table, in the scale of the training rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainables.cell_formats import GAPS, NUMBERS, described
from trainables.data import Data, source_and_training_rows
from trainables.error_text import few
from trainables.frames import read_frame, values_of
from trainables.run_config import RunConfig, RunError
from trainables.table import Scale, Table, one_hot

SHOWN = 6  # number of names shown in errors and notes


@dataclass(frozen=True, slots=True)
class Columns:
    """How inputs are made from a table's columns; plain data, for a JSON file.

    Attributes:
        numbers: columns of numbers and dates in order: name, kind, median, mean, std, and whether a 0/1
            column marks missing values.
        words: columns of categories: name, categories, and whether "missing" is one.
        target: name of the predicted column.
        classes: names of the classes, in the order of their numbers; empty for a regression.
        shape: shape of one input row.
        named: False for data from arrays, whose columns in a table are called x0, x1, ...
    """

    numbers: tuple[dict[str, Any], ...]
    words: tuple[dict[str, Any], ...]
    target: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    named: bool

    @classmethod
    def of(cls, run: RunConfig, data: Data, paths: Sequence[str | Path] = ()) -> Columns:
        """The columns of the run's data, with statistics of the training rows.

        Raises:
            RunError: if the data cannot be loaded.
        """
        shape = tuple(data.example.shape[1:])
        source, train = (None, None) if data.is_lazy else source_and_training_rows(run, paths)
        if not isinstance(source, Table):
            return cls((), (), "y", data.names, shape, False)
        scale = Scale.of(source.numbers[train])
        numbers = tuple(
            {"name": str(name), "kind": kind, "median": median, "mean": mean, "std": std, "gap": bool(gap)}
            for (name, kind), median, mean, std, gap in zip(
                source.numeric.items(),
                scale.median.tolist(),
                scale.mean.tolist(),
                scale.std.tolist(),
                source.gaps,
                strict=True,
            )
        )
        words = tuple(
            {"name": str(name), "categories": categories, "missing": missing}
            for name, (categories, missing) in source.categories.items()
        )
        return cls(numbers, words, source.target_name, source.classes, shape, True)

    def as_json(self) -> dict[str, Any]:
        """JSON types, from which `Columns(**...)` rebuilds it."""
        return asdict(self)

    @property
    def names(self) -> list[str]:
        """The columns that a table must have."""
        if not self.named:
            return [f"x{number}" for number in range(math.prod(self.shape))]
        return [column["name"] for column in (*self.numbers, *self.words)]

    @property
    def is_tensor(self) -> bool:
        """Whether a row has more than one axis, such as an image, so that it is not in a table."""
        return not self.named and len(self.shape) != 1

    def read(self, file: Path, **options: Any) -> pd.DataFrame:
        """Read a table from a CSV (also .gz) or Parquet file, as training does.

        Args:
            file: its path.
            options: see `trainables.frames.read_frame`.

        Raises:
            RunError: if there is no such file, or it is no table.
        """
        if not Path(file).is_file():
            raise RunError(f"{file}: no such file")
        return read_frame(Path(file), words=[column["name"] for column in self.words], **options)

    def unseen(self, frame: pd.DataFrame) -> list[str]:
        """Notes on values never seen in training, for which the net gets no category; a sentence each."""
        notes = []
        for column in self.words:
            values = frame[column["name"]].astype("string")
            new = values.notna() & ~values.isin(column["categories"])
            if new.any():
                words = few(sorted(values[new].unique()), SHOWN, repr)
                notes.append(
                    f"column {column['name']!r}: {int(new.sum())} of {len(frame)} rows have a value never "
                    f"seen in training ({words})"
                )
            if not column["missing"] and values.isna().any():
                notes.append(
                    f"column {column['name']!r}: {int(values.isna().sum())} of {len(frame)} rows have no "
                    "value, and in training every row had one"
                )
        return notes

    def check(self, frame: pd.DataFrame, file: str) -> list[str]:
        """The columns that are neither inputs nor the target.

        Raises:
            RunError: if a column is missing.
        """
        missing = [name for name in self.names if name not in frame.columns]
        unknown = [str(name) for name in frame.columns if name not in (*self.names, self.target)]
        if missing:
            instead = f"; it has {few(unknown, SHOWN, repr)} instead" if unknown else ""
            expected = f"the model was trained with {few(self.names, SHOWN, repr)}"
            raise RunError(f"{file}: no column {few(missing, SHOWN, repr)}{instead}; {expected}")
        return unknown

    def inputs(self, frame: pd.DataFrame, file: str) -> np.ndarray:
        """The net's inputs, (rows, ...), float32; an unknown category is all zeros.

        Raises:
            RunError: if a numeric column has other values.
        """
        if not self.named:
            arrays = [_values(frame[name], {"name": name, "kind": NUMBERS}, file) for name in self.names]
            return np.stack(arrays, axis=1).astype(np.float32).reshape(len(frame), *self.shape)
        values = [_values(frame[column["name"]], column, file) for column in self.numbers]
        raw = np.stack(values, axis=1) if values else np.zeros((len(frame), 0))
        median, mean, std = (
            np.array([column[key] for column in self.numbers]) for key in ("median", "mean", "std")
        )
        gaps = np.array([column["gap"] for column in self.numbers], dtype=bool)
        missing = np.isnan(raw)
        indicators = [
            one_hot(frame[each["name"]], each["categories"], each["missing"]) for each in self.words
        ]
        scaled = Scale(median, mean, std).apply(raw) if values else raw
        joined = np.concatenate([scaled, missing[:, gaps], *indicators], axis=1, dtype=np.float32)
        return joined.reshape(len(frame), *self.shape)


def _values(column: pd.Series, trained: dict[str, Any], file: str) -> np.ndarray:
    """A column of numbers or dates as float64; missing and infinite values are NaN.

    Raises:
        RunError: if it has other values than in training.
    """
    values = values_of(column, trained["kind"])
    is_empty = column.isna().to_numpy() | column.map(
        lambda value: (
            value in GAPS if isinstance(value, str) else isinstance(value, float) and math.isinf(value)
        )
    )
    wrong = np.flatnonzero(np.isnan(values) & ~is_empty)
    if len(wrong):
        row, kind = int(wrong[0]), described(trained["kind"])
        raise RunError(
            f"{file}: column {trained['name']!r} is {kind}, row {row + 1} has {str(column.iloc[row])!r}"
        )
    return values
