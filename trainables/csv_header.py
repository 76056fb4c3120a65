"""The first line of a CSV, read without pandas: a sweep file is checked in a moment."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Collection
from pathlib import Path
from typing import Any

SEPARATORS = {";": "';'", "\t": "'\\t'", "|": "'|'"}
"""Besides the comma, and as they are written in YAML."""

LATIN = "latin-1"


def header(file: Path, separator: Any = ",", encoding: Any = None) -> list[str]:
    """Read the column names of a CSV, gzipped or not; none where they cannot be told (Parquet)."""
    if not file.name.endswith((".csv", ".csv.gz")) or not isinstance(separator, str) or len(separator) != 1:
        return []
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding=encoding or "utf-8", newline="") as lines:
            return next(csv.reader(lines, delimiter=separator), [])
    except (OSError, UnicodeDecodeError, LookupError, csv.Error):
        return []


def separator_hint(columns: Collection[str]) -> str:
    """The `sep` that a table read as a single column most likely wants, as a sentence; empty if none.

    >>> separator_hint(["size;price"])
    "; it was read as one column: set data_config.sep: ';'"
    """
    found = separator_in(columns)
    return f"; it was read as one column: set data_config.sep: {SEPARATORS[found]}" if found else ""


def separator_in(columns: Collection[str]) -> str:
    """The separator that stands in the only column's name; empty if none does.

    >>> separator_in(["size;price"]), separator_in(["size", "price"])
    (';', '')
    """
    only = str(next(iter(columns))) if len(columns) == 1 else ""
    return next((separator for separator in SEPARATORS if separator in only), "")


def is_utf8(file: Path) -> bool:
    """Whether a CSV, gzipped or not, is UTF-8."""
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8") as lines:
            for _ in lines:
                pass
    except UnicodeDecodeError:
        return False
    except (OSError, EOFError):
        return True  # reading it will say what is wrong
    return True
