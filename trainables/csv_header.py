"""Reads the header and the format of a CSV without pandas, so that a sweep file is checked quickly."""

from __future__ import annotations

import codecs
import csv
import gzip
from collections.abc import Collection
from itertools import islice
from pathlib import Path
from typing import IO, Any

SEPARATORS = {";": "';'", "\t": "'\\t'", "|": "'|'"}
"""Separators besides the comma -> how they are written in YAML."""

LATIN = "latin-1"
FIRST_LINES, ALIKE = 20, 0.8


def header(file: Path, separator: Any = ",", encoding: Any = None) -> list[str]:
    """The column names of a CSV, gzipped or not; empty if they cannot be read, or for Parquet."""
    if not file.name.endswith((".csv", ".csv.gz")) or not isinstance(separator, str) or len(separator) != 1:
        return []
    try:
        with _text(file, encoding) as lines:
            return next(csv.reader(lines, delimiter=separator), [])
    except (OSError, UnicodeDecodeError, LookupError, csv.Error):
        return []


def separator_hint(columns: Collection[str]) -> str:
    """A hint at the right `sep` for a table that was read as a single column; empty if there is none.

    >>> separator_hint(["size;price"])
    "; it was read as one column: set data_config.sep: ';'"
    """
    separator = separator_in(columns)
    return f"; it was read as one column: set data_config.sep: {SEPARATORS[separator]}" if separator else ""


def separator_in(columns: Collection[str]) -> str:
    """The separator in the name of a single column; empty if there is none.

    >>> separator_in(["size;price"]), separator_in(["size", "price"])
    (';', '')
    """
    only = str(next(iter(columns))) if len(columns) == 1 else ""
    return next((separator for separator in SEPARATORS if separator in only), "")


def written_separator(file: Path, encoding: str | None) -> str:
    """The separator of a CSV if it is no comma; else empty, as if it cannot be determined.

    It is the one that splits the first lines into most columns, equally many in most lines.
    """
    try:
        with _text(file, encoding) as lines:
            first = list(islice(lines, FIRST_LINES))
    except (OSError, EOFError, UnicodeDecodeError, LookupError):
        return ""

    def columns(separator: str) -> int:
        rows = [len(row) for row in csv.reader(first, delimiter=separator) if row]
        return rows[0] if rows and rows.count(rows[0]) > ALIKE * len(rows) else 0

    best = max((",", *SEPARATORS), key=columns)
    return "" if best == "," or columns(best) < 2 else best


def encoding_of(file: Path) -> str:
    """The encoding of a CSV, gzipped or not, if it is not UTF-8: UTF-16, Windows' or Latin-1."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as raw:
            data = raw.read()
    except (OSError, EOFError):
        return ""  # reading the file will raise the error
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    for encoding in ("utf-8", "cp1252"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8":
            return ""
        return "cp1252" if any(0x80 <= byte < 0xA0 for byte in data) else LATIN
    return LATIN


def _text(file: Path, encoding: str | None) -> IO[str]:
    """Open a CSV, gzipped or not, for the csv module, without its byte-order mark."""
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding=encoding or "utf-8-sig", newline="")
    return file.open(encoding=encoding or "utf-8-sig", newline="")
