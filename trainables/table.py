"""A table of named columns, turned into numbers by statistics of the training split only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainables.cell_formats import NUMBERS, WORDS, Kind, is_date
from trainables.csv_header import separator_hint
from trainables.frames import check_columns, kind_of, read_frame, values_of
from trainables.outputs import OutputMeaning
from trainables.run_config import RunError
from trainables.targets import Task, as_array, read_targets

MAX_CATEGORIES = 100  # a column with more distinct words has no categories


@dataclass(frozen=True, slots=True)
class Scale:
    """Statistics of the training split, one number per numeric column or target.

    Attributes:
        median: replaces a missing value.
        mean: is subtracted.
        std: values are divided by it; 1 for a constant column.
    """

    median: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Scale:
        """Measure the columns of `values`, (rows, columns), float64; NaN is a missing value."""
        empty = np.isnan(values).all(axis=0)
        values = np.where(empty, 0.0, values)  # a column without values: any number will do
        median = np.nanmedian(values, axis=0)
        filled = np.where(np.isnan(values), median, values)
        std = filled.std(axis=0)
        return cls(median, filled.mean(axis=0), np.where(std > 0, std, 1.0))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Fill and standardise `values`, (rows, columns)."""
        filled = np.where(np.isnan(values), self.median, values)
        standard: np.ndarray = (filled - self.mean) / self.std
        return standard


class Table:
    """Features and a target, by column.

    Numeric columns (booleans are 0 and 1, dates are days) are standardised to zero mean and unit variance,
    with the median for a missing value and a 0/1 column that marks missing values. Other columns become one
    0/1 column per category, and one more for "missing". Columns, categories and gaps are taken from the
    whole table, so that every split and fold has the same inputs; every *number* (median, mean, deviation)
    is from the training rows alone. A column's kind is determined by its values, not its type: decimals,
    text that is numbers ("1,234.50" and "12 €" too) and booleans with gaps are numbers, and YYYY-MM-DD or
    31/1/2024 is a date (`trainables.cell_formats`).

    A regression target is standardised too, unless switched off, so that one learning rate range suits
    every table; metrics are computed in the target's own units, and the loss (of MSELoss) is then the
    share of the variance that is left unexplained.

    Args:
        frame: one row per example.
        target: the name of the column to predict; rows without it are left out.
        task: if None, by the criterion and the values, see `trainables.targets.read_targets`.
        standardise_target: whether a regression target is standardised.
        dayfirst: whether 1/2/2024 is the first of February; None to infer it from the values.

    Attributes:
        all_targets: the targets of all rows.
        numeric: numeric column -> kind.

    Raises:
        RunError: if the target is no column, or a column cannot be turned into numbers.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        target: str,
        task: Task | None = None,
        standardise_target: bool = True,
        dayfirst: bool | None = None,
    ) -> None:
        check_columns(frame, "the table")
        if target not in frame.columns:
            columns = f"there are {', '.join(map(str, frame.columns))}{separator_hint(frame.columns)}"
            raise RunError(f"target: no column {target!r}; {columns}")
        target_column = frame[target]
        frame = frame[target_column.notna()]
        self.task_given = task
        self.target_name = target
        self.raw_target = target_values(target_column)
        self.all_targets = read_targets(self.raw_target, task=task, where=f"column {target!r}")
        self.standardise_target = standardise_target
        features = frame.drop(columns=target)
        kinds = {name: kind_of(features[name], dayfirst) for name in features.columns}
        self.numeric: dict[Any, Kind] = {name: kind for name, kind in kinds.items() if kind != WORDS}
        numbers = [values_of(features[name], kind) for name, kind in self.numeric.items()]
        self.numbers = _stack_columns(numbers, len(features))
        self.gaps = np.isnan(self.numbers).any(axis=0)
        words = [name for name, kind in kinds.items() if kind == WORDS]
        self.categories = categories_of(features[words])
        indicators = [one_hot(features[name], *self.categories[name]) for name in words]
        self.indicators = np.concatenate([*indicators, np.zeros((len(features), 0))], axis=1)

    def for_criterion(self, criterion: OutputMeaning | None, task: Task | None = None) -> Table:
        """This table, with targets read by its own task, else by `task`, else by the criterion.

        Raises:
            RunError: if the target does not fit.
        """
        where = f"column {self.target_name!r}"
        task = self.task_given or task
        self.all_targets = read_targets(self.raw_target, task=task, criterion=criterion, where=where)
        return self

    @property
    def task(self) -> Task:
        """The task that the targets are read for."""
        return self.all_targets.task

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""
        return self.all_targets.classes

    def __len__(self) -> int:
        return len(self.all_targets)

    def features(self, rows: np.ndarray, train: np.ndarray) -> np.ndarray:
        """Inputs of `rows`, (rows, features), float32, in the scale of the rows in `train`."""
        scale = Scale.of(self.numbers[train])
        values = self.numbers[rows]
        missing = np.isnan(values)[:, self.gaps]
        return np.concatenate([scale.apply(values), missing, self.indicators[rows]], axis=1, dtype=np.float32)

    def target_scale(self, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of a regression target over the rows in `train`, each (1,)."""
        if self.task == "classification" or not self.standardise_target:
            return np.zeros(1), np.ones(1)
        scale = Scale.of(self.all_targets.values[train])
        return scale.mean, scale.std

    def targets(self, rows: np.ndarray, train: np.ndarray) -> np.ndarray:
        """Targets of `rows`: class numbers (rows,), int64; or float32 (rows, 1) in the scale of `train`."""
        targets: np.ndarray = self.all_targets.values[rows]
        if self.task == "regression":
            mean, std = self.target_scale(train)
            targets = ((targets - mean) / std).astype(np.float32)
        return targets


def target_values(column: pd.Series) -> np.ndarray:
    """The target's values without gaps: integers, floats, booleans, or words.

    With gaps, pandas stores integers as floats and booleans as objects; this is undone here.

    Raises:
        RunError: if it is a date.
    """
    known = column[column.notna()]
    kind = kind_of(known) if len(known) else NUMBERS
    if is_date(kind):
        raise RunError(f"target: column {column.name!r} is a date; make a number of it")
    if kind == WORDS:
        return as_array(known.astype("string").to_numpy(dtype=object), f"column {column.name!r}")
    if pd.api.types.is_numeric_dtype(known):
        values = known.to_numpy()
    else:
        is_bool = known.map(lambda value: isinstance(value, (bool, np.bool_)))
        values = known.to_numpy(dtype=bool) if is_bool.all() else values_of(known, kind)
    if len(known) < len(column) and values.dtype.kind == "f" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    return as_array(values, f"column {column.name!r}")


def load_table(
    path: str,
    target: str,
    *,
    drop: str | Sequence[str] = (),
    task: Task | None = None,
    standardise_target: bool = True,
    sep: str = ",",
    encoding: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    dayfirst: bool | None = None,
    folders: Sequence[str | Path] = (),
) -> Table:
    """Read a table from a CSV (also .csv.gz) or Parquet file.

    Args:
        path: the file; a relative one is looked for beside the sweep file, in the working directory
            and in the clone. Or a URI (`s3://bucket/table.parquet`), as pyarrow's file systems know it.
        target: the column to predict.
        drop: one or more columns that are no inputs (identifiers, leaks).
        task: "regression" or "classification"; by the criterion and the values if None.
        standardise_target: whether a regression target is standardised.
        sep: column separator of a CSV.
        encoding: encoding of a CSV; UTF-8 if None.
        decimal: decimal separator of a CSV.
        thousands: thousands separator of a CSV.
        dayfirst: whether 1/2/2024 is the first of February; None to infer it from the values.
        folders: where relative paths are looked for; filled in.

    Raises:
        RunError: if there is no such file or column, or it cannot be read.
    """
    file = path if "://" in path else find(path, folders)
    frame = read_frame(file, sep=sep, encoding=encoding, decimal=decimal, thousands=thousands)
    dropped = [drop] if isinstance(drop, str) else list(drop)
    unknown = [name for name in dropped if name not in frame.columns]
    if unknown:
        columns = f"there are {', '.join(map(str, frame.columns))}{separator_hint(frame.columns)}"
        raise RunError(f"data_config.drop: no column {unknown[0]!r} in {Path(path).name}; {columns}")
    return Table(frame.drop(columns=dropped), target, task, standardise_target, dayfirst)


def find(path: str, folders: Sequence[str | Path]) -> Path:
    """The file `path` in the first of `folders` that has it (an absolute path is used as it is).

    Raises:
        RunError: if none does.
    """
    candidates = [Path(folder) / path for folder in folders] or [Path(path)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    searched = ", ".join(str(candidate.parent) for candidate in dict.fromkeys(candidates))
    raise RunError(f"data_config.path: no file {path!r} in {searched}")


def _stack_columns(columns: list[np.ndarray], rows: int) -> np.ndarray:
    """Columns side by side, (rows, columns); `columns` may be empty."""
    return np.stack(columns, axis=1) if columns else np.zeros((rows, 0))


def categories_of(frame: pd.DataFrame) -> dict[Any, tuple[list[str], bool]]:
    """Column -> its distinct words, sorted, and whether values are missing.

    Raises:
        RunError: if columns have too many distinct words; names all of them.
    """
    texts = {name: frame[name].astype("string") for name in frame.columns}
    categories = {
        name: (sorted(text.dropna().unique()), bool(text.isna().any())) for name, text in texts.items()
    }
    many = {name: words for name, (words, _) in categories.items() if len(words) > MAX_CATEGORIES}
    if many:
        counts = [f"column {name!r} has {len(w)}, as {w[len(w) // 2]!r}" for name, w in many.items()]
        fixes = {name: _fix(words) for name, words in many.items()}
        settings = list(dict.fromkeys(fix for fix in fixes.values() if fix))
        rest = [str(name) for name, fix in fixes.items() if not fix]
        if rest:
            settings.append(f"if it is an identifier, set data_config.drop: [{', '.join(rest)}]")
        raise RunError(
            f"more than {MAX_CATEGORIES} distinct words are no categories: {', '.join(counts)}; "
            + "; ".join(settings)
        )
    return categories


def one_hot(column: pd.Series, categories: Sequence[str], missing: bool) -> np.ndarray:
    """One 0/1 column per category, and one for missing values if `missing`."""
    words = column.astype("string")
    hot = [(words == category).fillna(False).to_numpy(dtype=np.float64) for category in categories]
    if missing:
        hot.append(words.isna().to_numpy(dtype=np.float64))
    return _stack_columns(hot, len(column))


def _fix(words: Sequence[str]) -> str:
    """How to read words as dates, if they may be dates; else empty."""
    if all(re.fullmatch(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}", word.strip()) for word in words):
        return "for dates say whether 1/2/2024 is in February, data_config.dayfirst: true; else drop it"
    return ""
