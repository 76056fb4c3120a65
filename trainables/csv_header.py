"""The first line of a CSV, read without pandas: a sweep file is checked in a moment."""

from __future__ import annotations

import codecs
import csv
import gzip
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

SEPARATORS = {";": "';'", "\t": "'\\t'", "|": "'|'"}
"""Besides the comma, and as they are written in YAML."""

LATIN = "latin-1"
FIRST_LINES, ALIKE = 20, 0.8


def header(file: Path, separator: Any = ",", encoding: Any = None) -> list[str]:
    """Read the column names of a CSV, gzipped or not; none where they cannot be told (Parquet)."""
    if not file.name.endswith((".csv", ".csv.gz")) or not isinstance(separator, str) or len(separator) != 1:
        return []
    try:
        with _text(file, encoding) as lines:
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


def written_separator(file: Path, encoding: str | None) -> str:
    """The separator of a CSV that is no comma; empty for a comma, and where none is to be seen.

    It is the one that cuts the first lines into most columns, most of them alike.
    """
    try:
        with _text(file, encoding) as lines:
            first = [line for _, line in zip(range(FIRST_LINES), lines, strict=False)]
    except (OSError, EOFError, UnicodeDecodeError, LookupError):
        return ""

    def columns(separator: str) -> int:
        rows = [len(row) for row in csv.reader(first, delimiter=separator) if row]
        return rows[0] if rows and rows.count(rows[0]) > ALIKE * len(rows) else 0

    best = max((",", *SEPARATORS), key=columns)
    return "" if best == "," or columns(best) < 2 else best


def encoding_of(file: Path) -> str:
    """The encoding of a CSV, gzipped or not, if it is not UTF-8: by its mark, else Windows' or Latin-1."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as raw:
            data = raw.read()
    except (OSError, EOFError):
        return ""  # reading it will say what is wrong
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    for encoding in ("utf-8", "cp1252"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        windows = encoding == "cp1252" and any(0x80 <= byte < 0xA0 for byte in data)
        return "cp1252" if windows else "" if encoding == "utf-8" else LATIN
    return LATIN


def _text(file: Path, encoding: str | None) -> IO[str]:
    """A CSV, gzipped or not, opened for the csv module; its byte-order mark is no part of it."""
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding=encoding or "utf-8-sig", newline="")
    return file.open(encoding=encoding or "utf-8-sig", newline="")
