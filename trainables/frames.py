"""Reads tables for training and prediction: files as frames, and columns by their values."""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Collection, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainables.cell_formats import (
    DATE,
    NUMBERS,
    WORDS,
    Kind,
    as_datetimes,
    as_written,
    is_ambiguous,
    is_date,
    without_gaps,
    written_kinds,
)
from trainables.run_config import RunError

PARQUET = (".parquet", ".pq")
READING = ("sep", "encoding", "decimal", "thousands")
"""Keywords of `load_table` for the format of a CSV; a model reads its tables with the same values."""

BOOLEANS = {"true": 1.0, "false": 0.0}
PROBE = 100  # values tried before a whole column is parsed
DAY = np.timedelta64(1, "D")


class UnreadableTable(RunError):
    """A table cannot be read; `what` says why."""

    def __init__(self, file: str | Path, what: str) -> None:
        super().__init__(f"{file}: {what}")
        self.what = what


def read_frame(file: str | Path, *, words: Collection[str] = (), **options: Any) -> pd.DataFrame:
    """Read a table from a CSV (also .csv.gz) or Parquet file, or from a URI of pyarrow's file systems.

    Args:
        file: a path, or a URI.
        words: columns of a CSV that are read as text, even if they look like numbers.
        options: `sep`, `encoding`, `decimal` and `thousands` of a CSV.

    Raises:
        UnreadableTable: if it cannot be read, or its header names a column twice.
        RunError: if there is no such encoding.
    """
    name = str(file)
    try:
        codecs.lookup(options.get("encoding") or "utf-8")
    except LookupError as error:
        raise RunError(f"data_config.encoding: {error}") from None
    try:
        if "://" in name:
            frame = _read_uri(name, words, options)
        else:
            frame = pd.read_parquet(file) if name.endswith(PARQUET) else _read_csv(file, words, options)
    except RunError:
        raise
    except UnicodeDecodeError as error:
        wrong = error.object[error.start : error.start + 1].hex()
        raise UnreadableTable(
            name,
            f"it is not {error.encoding.upper()} (byte 0x{wrong}); say how it is encoded, mostly "
            "data_config.encoding: latin-1",
        ) from None
    except (OSError, EOFError, ValueError, NotImplementedError, csv.Error) as error:
        message = " ".join(str(error).split())[:300]
        raise UnreadableTable(name, f"cannot be read as a table: {message}") from None
    check_columns(frame, name)
    return frame


def check_columns(frame: pd.DataFrame, where: str) -> None:
    """Check that no two columns have the same name.

    Raises:
        UnreadableTable: if two have.
    """
    duplicates = frame.columns[frame.columns.duplicated()]
    if len(duplicates):
        raise UnreadableTable(
            where, f"two columns are called {str(duplicates[0])!r}; rename one, or take it out"
        )


def kind_of(column: pd.Series, dayfirst: bool | None = None) -> Kind:
    """The kind of a column's values, and how they are written: see `trainables.cell_formats`.

    Booleans, and text that is numbers, are numbers. Dates that may have the day or the month first are
    words.

    Args:
        column: a column of a table.
        dayfirst: whether 1/2/2024 is the first of February; None to infer it from the values.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return DATE
    if pd.api.types.is_numeric_dtype(column):
        return NUMBERS
    known = filled_values(column)
    if not len(known):
        return WORDS if column.notna().any() else NUMBERS  # only dashes, or only missing values
    for kind in written_kinds(known, dayfirst):
        # The first values mostly rule a kind out, so that a large column is not parsed in vain.
        if not np.isnan(values_of(known[:PROBE], kind)).any() and not np.isnan(values_of(known, kind)).any():
            is_unclear = is_date(kind) and dayfirst is None and is_ambiguous(known, kind)
            return WORDS if is_unclear else kind
    return WORDS


def filled_values(column: pd.Series) -> pd.Series:
    """The values of a column without missing ones."""
    known = column[column.notna()]
    if pd.api.types.is_numeric_dtype(known) or pd.api.types.is_datetime64_any_dtype(known):
        return known
    known = without_gaps(known)
    return known[known.notna()]


def as_numbers(column: pd.Series) -> np.ndarray:
    """A column as float64, (rows,); values that are missing, infinite or no numbers are NaN.

    Decimals, booleans with gaps (true and false in upper or lower case) and text that is numbers are numbers.
    """
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        plain = column.astype(object).map(_plain)
        values = pd.to_numeric(plain, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def as_days(column: pd.Series, kind: Kind = DATE) -> np.ndarray:
    """A column of dates as days since 1970, (rows,); NaN for text of another format."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        column = as_datetimes(column, kind)
    if column.dt.tz is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    since = column.to_numpy(dtype="datetime64[ns]") - np.datetime64("1970-01-01", "ns")
    days: np.ndarray = since / DAY
    return days


def values_of(column: pd.Series, kind: Kind) -> np.ndarray:
    """A column of numbers or dates as float64, (rows,); NaN for missing and other values."""
    if is_date(kind):
        return as_days(column, kind)
    if kind == NUMBERS or pd.api.types.is_numeric_dtype(column):
        return as_numbers(column)
    return as_written(column, kind)


def _plain(value: Any) -> Any:
    """A value that `pandas.to_numeric` understands, if it is a number or a boolean; else None or text."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (bool, np.bool_)):
        return float(value)
    if isinstance(value, str):
        return BOOLEANS.get(value.strip().lower(), value)
    return value if isinstance(value, (int, float, np.number)) else None


def _read_csv(file: Any, words: Collection[str], options: Mapping[str, Any]) -> pd.DataFrame:
    """Read a CSV: columns that look like numbers as numbers, the others as text.

    `low_memory` would decide by pieces of the file, and might make a column both numbers and text.
    """
    options = {key: value for key, value in options.items() if value is not None}
    if not hasattr(file, "read"):
        _check_header(file, options)
    dtypes = dict.fromkeys(words, "string")
    frame = pd.read_csv(file, dtype=dtypes, low_memory=False, **options)
    for name in frame.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]]:
        frame[name] = _strip_spaces(frame[name])
    return frame.rename(columns=lambda name: name.strip() if isinstance(name, str) else name)


def _strip_spaces(column: pd.Series) -> pd.Series:
    """Text without leading and trailing spaces; text of spaces only becomes missing."""
    if not any(isinstance(value, str) and value != value.strip() for value in column):
        return column
    text = column.astype("string").str.strip()
    return text.mask(text == "").astype(column.dtype)


def _check_header(file: str | Path, options: Mapping[str, Any]) -> None:
    """Check that the header names no column twice, as pandas would call the second one `name.1`.

    Raises:
        UnreadableTable: if it does.
    """
    first_row = pd.read_csv(file, header=None, nrows=1, dtype=str, **options)
    counts = Counter(str(name) for name in first_row.iloc[0].dropna())
    duplicates = [name for name, count in counts.items() if count > 1]
    if duplicates:
        raise UnreadableTable(
            file, f"its header names {duplicates[0]!r} twice; rename one of the columns, or take it out"
        )


def _read_uri(uri: str, words: Collection[str], options: Mapping[str, Any]) -> pd.DataFrame:
    from pyarrow.fs import FileSystem

    file_system, path = FileSystem.from_uri(uri)
    if path.endswith(PARQUET):
        with file_system.open_input_file(path) as file:
            return pd.read_parquet(file)
    with file_system.open_input_stream(path) as stream:  # unpacks .gz by the name
        return _read_csv(stream, words, options)
