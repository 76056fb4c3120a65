"""The one reader of tables, for training and for prediction: files as frames, and columns by their values."""

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
"""Keywords of `load_table` that say how a CSV is written; a model's tables are read by the same."""

TRUTH = {"true": 1.0, "false": 0.0}
PROBE = 100  # values
DAY = np.timedelta64(1, "D")


class UnreadableTable(RunError):
    """A table that cannot be read: the file, and what is wrong with it."""

    def __init__(self, file: str | Path, what: str) -> None:
        super().__init__(f"{file}: {what}")
        self.what = what


def read_frame(file: str | Path, *, words: Collection[str] = (), **how: Any) -> pd.DataFrame:
    """A table from a CSV (also .csv.gz) or Parquet file, or from a URI as pyarrow's file systems know it.

    Args:
        file: a path, or a URI.
        words: columns of a CSV that are text, whatever it looks like.
        how: `sep`, `encoding`, `decimal` and `thousands` of a CSV.

    Raises:
        UnreadableTable: if it cannot be read, or its header names a column twice.
        RunError: if there is no such encoding.
    """
    name = str(file)
    try:
        codecs.lookup(how.get("encoding") or "utf-8")
    except LookupError as error:
        raise RunError(f"data_config.encoding: {error}") from None
    try:
        if "://" in name:
            frame = _at_uri(name, words, how)
        else:
            frame = pd.read_parquet(file) if name.endswith(PARQUET) else _csv(file, words, how)
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
        said = " ".join(str(error).split())[:300]
        raise UnreadableTable(name, f"cannot be read as a table: {said}") from None
    check_columns(frame, name)
    return frame


def check_columns(frame: pd.DataFrame, where: str) -> None:
    """Nothing, if no two columns have the same name.

    Raises:
        UnreadableTable: if two have.
    """
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise UnreadableTable(where, f"two columns are called {str(twice[0])!r}; rename one, or take it out")


def kind_of(column: pd.Series, dayfirst: bool | None = None) -> Kind:
    """What a column's values are, and how they are written: see `trainables.cell_formats`.

    Numbers are booleans too, and text that is numbers. Dates of which nothing says whether the day or the
    month is first are words.

    Args:
        column: of a table.
        dayfirst: whether 1/2/2024 is the first of February; None where the values are to say it.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return DATE
    if pd.api.types.is_numeric_dtype(column):
        return NUMBERS
    known = filled_values(column)
    if not len(known):
        return WORDS if column.notna().any() else NUMBERS  # dashes alone, or nothing but gaps
    for kind in written_kinds(known, dayfirst):
        # Words mostly show in the first values: a large column is not parsed in vain.
        if not np.isnan(values_of(known[:PROBE], kind)).any() and not np.isnan(values_of(known, kind)).any():
            unsaid = is_date(kind) and dayfirst is None and is_ambiguous(known, kind)
            return WORDS if unsaid else kind
    return WORDS


def filled_values(column: pd.Series) -> pd.Series:
    """The values of a column that say something."""
    known = column[column.notna()]
    if pd.api.types.is_numeric_dtype(known) or pd.api.types.is_datetime64_any_dtype(known):
        return known
    known = without_gaps(known)
    return known[known.notna()]


def as_numbers(column: pd.Series) -> np.ndarray:
    """A column as float64, (rows,); what is missing, infinite or no number is NaN.

    Decimals, booleans with gaps (in any spelling of true and false) and text that is numbers are numbers.
    """
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        plain = column.astype(object).map(_plain)
        values = pd.to_numeric(plain, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def as_days(column: pd.Series, kind: Kind = DATE) -> np.ndarray:
    """A column of dates as days since 1970, (rows,); NaN where text is not written so."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        column = as_datetimes(column, kind)
    if column.dt.tz is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    since = column.to_numpy(dtype="datetime64[ns]") - np.datetime64("1970-01-01", "ns")
    days: np.ndarray = since / DAY
    return days


def values_of(column: pd.Series, kind: Kind) -> np.ndarray:
    """A column of numbers or dates as float64, (rows,); NaN where it holds something else, or nothing."""
    if is_date(kind):
        return as_days(column, kind)
    if kind == NUMBERS or pd.api.types.is_numeric_dtype(column):
        return as_numbers(column)
    return as_written(column, kind)


def _plain(value: Any) -> Any:
    """A value that `pandas.to_numeric` understands, if it is a number or a truth value."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (bool, np.bool_)):
        return float(value)
    if isinstance(value, str):
        return TRUTH.get(value.strip().lower(), value)
    return value if isinstance(value, (int, float, np.number)) else None


def _csv(file: Any, words: Collection[str], how: Mapping[str, Any], **more: Any) -> pd.DataFrame:
    """A CSV, columns that look like numbers as numbers, the others as the text that stands there.

    `low_memory` would decide by pieces of the file, and make one column both numbers and text.
    """
    options = {key: value for key, value in how.items() if value is not None} | more
    if not hasattr(file, "read"):
        _check_header(file, options)
    text = dict.fromkeys(words, "string")
    frame = pd.read_csv(file, dtype=text, low_memory=False, **options)
    for name in frame.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]]:
        frame[name] = _stripped(frame[name])
    return frame.rename(columns=lambda name: name.strip() if isinstance(name, str) else name)


def _stripped(column: pd.Series) -> pd.Series:
    """Text without the spaces around it; nothing but spaces is missing."""
    if not column.map(lambda value: isinstance(value, str) and value != value.strip()).any():
        return column
    text = column.astype("string").str.strip()
    return text.mask(text == "").astype(column.dtype)


def _check_header(file: str | Path, options: Mapping[str, Any]) -> None:
    """Nothing, if the header names no column twice: pandas would call the second one `name.1`.

    Raises:
        UnreadableTable: if it does.
    """
    first = pd.read_csv(file, header=None, nrows=1, dtype=str, **options)
    counts = Counter(str(name) for name in first.iloc[0].dropna())
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise UnreadableTable(
            file, f"its header names {twice[0]!r} twice; rename one of the columns, or take it out"
        )


def _at_uri(uri: str, words: Collection[str], how: Mapping[str, Any]) -> pd.DataFrame:
    from pyarrow.fs import FileSystem

    files, place = FileSystem.from_uri(uri)
    if place.endswith(PARQUET):
        with files.open_input_file(place) as file:
            return pd.read_parquet(file)
    with files.open_input_stream(place) as stream:  # unpacks .gz by the name
        return _csv(stream, words, how)
