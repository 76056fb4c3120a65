"""A table of named columns, and how it becomes numbers without looking beyond the training split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from trainables.run import RunError

Task = Literal["regression", "classification"]
PARQUET = (".parquet", ".pq")
MAX_CATEGORIES = 100  # a column of more distinct words is an identifier, not a category
MAX_CLASSES = 20  # whole-number targets of more distinct values are quantities


@dataclass(frozen=True, slots=True)
class Scale:
    """What the training split says about the columns: one number per numeric column or target.

    Attributes:
        median: stands in for a missing value.
        mean: subtracted.
        std: divided by; 1 where a column is constant.
    """

    median: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Scale:
        """Measure the columns of `values`, (rows, columns), float64; NaN is a missing value."""
        empty = np.isnan(values).all(axis=0)
        values = np.where(empty, 0.0, values)  # nothing known of a column: 0 is as good as any
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

    Numeric columns (booleans are 0 and 1): the median for a missing value, a 0/1 column beside it that
    says where one was missing, then zero mean and unit variance. Other columns: one 0/1 column per
    category, one more for "missing". Which columns, categories and gaps there are is taken from the
    whole table, so that every split and fold has the same inputs; every *number* (median, mean,
    deviation) from the training rows alone.

    A regression target is standardised too, unless told otherwise, so that one learning rate range
    suits every table; metrics are computed in the target's own units, and the loss (of MSELoss) is
    then the share of the variance that is left unexplained.

    Args:
        frame: one row per example.
        target: the name of the column to predict; rows without it are left out.
        task: inferred if None: words, booleans and whole numbers of at most 20 distinct values are
            classes, other numbers a regression.
        standardise_target: whether a regression target is standardised.

    Raises:
        RunError: if the target is no column, or a column can be made no numbers of.
    """

    def __init__(
        self, frame: pd.DataFrame, target: str, task: Task | None = None, standardise_target: bool = True
    ) -> None:
        if target not in frame.columns:
            raise RunError(f"target: no column {target!r}; there are {', '.join(map(str, frame.columns))}")
        frame = frame[frame[target].notna()]
        self.task: Task = task or infer_task(frame[target])
        self.classes: tuple[str, ...] = ()
        if self.task == "classification":
            labels, codes = np.unique(frame[target].to_numpy(), return_inverse=True)
            self.classes = tuple(str(label) for label in labels)
            self.target = codes.astype(np.int64)
        else:
            self.target = _numbers(frame[target], target)[:, None]
        self.standardise_target = standardise_target
        self.target_name = target
        features = frame.drop(columns=target)
        numeric = [name for name in features.columns if pd.api.types.is_numeric_dtype(features[name])]
        self.numbers = _stacked([_numbers(features[name], name) for name in numeric], len(features))
        self.gaps = np.isnan(self.numbers).any(axis=0)
        self.numeric = tuple(numeric)
        words = [name for name in features.columns if name not in numeric]
        self.categories = {name: categories_of(features[name]) for name in words}
        indicators = [one_hot(features[name], *self.categories[name]) for name in words]
        self.indicators = np.concatenate([*indicators, np.zeros((len(features), 0))], axis=1)

    def __len__(self) -> int:
        return len(self.target)

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
        scale = Scale.of(self.target[train])
        return scale.mean, scale.std

    def targets(self, rows: np.ndarray, train: np.ndarray) -> np.ndarray:
        """Targets of `rows`: int64 codes (rows,), or float32 (rows, 1) in the scale of `train`."""
        chosen: np.ndarray = self.target[rows]
        if self.task == "regression":
            mean, std = self.target_scale(train)
            chosen = ((chosen - mean) / std).astype(np.float32)
        return chosen


def infer_task(target: pd.Series) -> Task:
    """Classification for words, booleans and few whole numbers; else regression."""
    kind = pd.api.types
    if kind.is_bool_dtype(target) or not kind.is_numeric_dtype(target):
        return "classification"
    if kind.is_integer_dtype(target) and target.nunique() <= MAX_CLASSES:
        return "classification"
    return "regression"


def load_table(
    path: str,
    target: str,
    *,
    drop: Sequence[str] = (),
    task: Task | None = None,
    standardise_target: bool = True,
    sep: str = ",",
    folders: Sequence[str | Path] = (),
) -> Table:
    """Read a table from a CSV (also .csv.gz) or Parquet file.

    Args:
        path: the file; a relative one is looked for beside the sweep file, in the working directory
            and in the clone. Or a URI (`s3://bucket/table.parquet`), as pyarrow's file systems know it.
        target: the column to predict.
        drop: columns that are no inputs (identifiers, leaks).
        task: "regression" or "classification"; inferred if None, see `Table`.
        standardise_target: whether a regression target is standardised.
        sep: what separates the columns of a CSV.
        folders: where relative paths are looked for; filled in.

    Raises:
        RunError: if there is no such file or column.
    """
    frame = _frame_at(path, sep) if "://" in path else _frame_of(find(path, folders), sep)
    unknown = [name for name in drop if name not in frame.columns]
    if unknown:
        raise RunError(f"data_config.drop: no column {unknown[0]!r} in {Path(path).name}")
    return Table(frame.drop(columns=list(drop)), target, task, standardise_target)


def _frame_of(file: Path, sep: str) -> pd.DataFrame:
    return pd.read_parquet(file) if file.suffix in PARQUET else pd.read_csv(file, sep=sep)


def _frame_at(uri: str, sep: str) -> pd.DataFrame:
    """The table at a URI.

    Raises:
        RunError: with what the storage says.
    """
    from pyarrow.fs import FileSystem

    try:
        files, place = FileSystem.from_uri(uri)
        if Path(place).suffix in PARQUET:
            with files.open_input_file(place) as file:
                return pd.read_parquet(file)
        with files.open_input_stream(place) as stream:  # unpacks .gz by the name
            return pd.read_csv(stream, sep=sep)
    except (OSError, ValueError, NotImplementedError) as error:
        raise RunError(f"data_config.path: {uri}: {' '.join(str(error).split())[:300]}") from None


def find(path: str, folders: Sequence[str | Path]) -> Path:
    """The first of `folders` that holds `path` (an absolute path stands for itself).

    Raises:
        RunError: if none does.
    """
    candidates = [Path(folder) / path for folder in folders] or [Path(path)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    places = ", ".join(str(candidate.parent) for candidate in dict.fromkeys(candidates))
    raise RunError(f"data_config.path: no file {path!r} in {places}")


def _numbers(column: pd.Series, name: Any) -> np.ndarray:
    """A column as float64, (rows,); missing and infinite values are NaN."""
    try:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise RunError(f"column {name!r} ({column.dtype}) is not numeric; convert or drop it") from None
    return np.where(np.isfinite(values), values, np.nan)


def _stacked(columns: list[np.ndarray], rows: int) -> np.ndarray:
    """Columns side by side, (rows, columns); also when there are none."""
    return np.stack(columns, axis=1) if columns else np.zeros((rows, 0))


def categories_of(column: pd.Series) -> tuple[list[str], bool]:
    """The distinct words of a column, sorted, and whether values are missing.

    Raises:
        RunError: if it is no column of categories.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        raise RunError(f"column {column.name!r} is a date; make numbers of it or drop it")
    words = column.astype("string")
    categories = sorted(words.dropna().unique())
    if len(categories) > MAX_CATEGORIES:
        raise RunError(
            f"column {column.name!r} has {len(categories)} distinct words, more than {MAX_CATEGORIES}; "
            "if it is an identifier, name it in data_config.drop"
        )
    return categories, bool(words.isna().any())


def one_hot(column: pd.Series, categories: Sequence[str], missing: bool) -> np.ndarray:
    """One 0/1 column per category, and a last one for missing values if they have one."""
    words = column.astype("string")
    hot = [(words == category).fillna(False).to_numpy(dtype=np.float64) for category in categories]
    if missing:
        hot.append(words.isna().to_numpy(dtype=np.float64))
    return _stacked(hot, len(column))
