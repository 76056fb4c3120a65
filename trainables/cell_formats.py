"""Formats of numbers and dates in tables, inferred from a column's values.

`Kind` is the kind and format of a column: `numbers` as Python writes them, `numbers 1,234.5`,
`numbers 1.234,5`; `date` as YYYY-MM-DD, `date %d/%m/%Y` and the like, by `strftime`'s letters; `words`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

import numpy as np
import pandas as pd

Kind = str
NUMBERS, DATE, WORDS = "numbers", "date", "words"
COMMA_GROUPS, POINT_GROUPS = "numbers 1,234.5", "numbers 1.234,5"

GAPS = frozenset(("", "-", "--", "–", "—", "?", ".", "n.a.", "n. a.", "#N/A", "#NV", "(blank)"))  # noqa: RUF001
"""Cells that mean a missing value in columns of numbers or dates; pandas itself knows NA, NaN, null etc."""

_UNIT = re.compile(r"^(?:[€$£¥]|EUR|USD|GBP|CHF)\s*|\s*(?:[€$£¥%]|EUR|USD|GBP|CHF)$", re.IGNORECASE)
_GAPS_IN_NUMBERS = r"[ '’\u00a0\u202f]"  # noqa: RUF001 - 1 234,50 and 1'234.50
_GROUPED = {
    COMMA_GROUPS: rf"[-+]?(?:[1-9]\d{{0,2}}(?:(?:,|{_GAPS_IN_NUMBERS})\d{{3}})+|\d+)(?:\.\d+)?",
    POINT_GROUPS: rf"[-+]?(?:[1-9]\d{{0,2}}(?:(?:\.|{_GAPS_IN_NUMBERS})\d{{3}})+|\d+)(?:,\d+)?",
}
_ISO = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
_TIMES = ("", " %H:%M", " %H:%M:%S")
_YEAR_FIRST = ("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d")
_WRITTEN_OUT = ("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y")
_DAY_OR_MONTH = tuple((f"%d{sep}%m{sep}%Y", f"%m{sep}%d{sep}%Y") for sep in ("/", "-", "."))


def is_number(kind: Kind) -> bool:
    """Whether a column of this kind holds numbers."""
    return kind.startswith(NUMBERS)


def is_date(kind: Kind) -> bool:
    """Whether a column of this kind holds dates."""
    return kind.startswith(DATE)


def described(kind: Kind) -> str:
    """What a column of numbers or dates is, with an example if it is not in the plain format.

    >>> described("numbers"), described("numbers 1.234,5"), described("date %d.%m.%Y")
    ('numeric', 'numeric, as 1.234,5', 'a date, as 31.01.2024')
    """
    what, _, form = kind.partition(" ")
    example = form if what == NUMBERS else date(2024, 1, 31).strftime(form)
    return ("numeric" if what == NUMBERS else "a date") + (f", as {example}" if form else "")


def without_gaps(column: pd.Series) -> pd.Series:
    """A column of text or other values, with the cells in `GAPS` missing."""
    return column.mask(column.isin(GAPS))


def as_written(column: pd.Series, kind: Kind) -> np.ndarray:
    """Text in a number format as float64, (rows,); NaN for text of another format.

    >>> as_written(pd.Series(["1,234.50", "€ 7", "12 %", "1.5.2"]), "numbers 1,234.5").tolist()
    [1234.5, 7.0, 12.0, nan]
    """
    text = column.astype("string").str.strip().str.replace(_UNIT, "", regex=True)
    text = text.where(text.str.fullmatch(_GROUPED[kind]).fillna(False))
    separator, point = (",", ".") if kind == COMMA_GROUPS else (".", ",")
    plain = text.str.replace(rf"{_GAPS_IN_NUMBERS}|{re.escape(separator)}", "", regex=True)
    values: np.ndarray = pd.to_numeric(plain.str.replace(point, ".", regex=False)).to_numpy(
        dtype=np.float64, na_value=np.nan
    )
    return values


def in_writing(value: float, kind: Kind) -> float | str:
    """A number in the format of a column of this kind.

    >>> in_writing(1234.5, "numbers 1.234,5"), in_writing(1234.5, "numbers")
    ('1.234,5', 1234.5)
    """
    if kind == NUMBERS:
        return value
    text = f"{value:,.6f}".rstrip("0").rstrip(".")
    return text if kind == COMMA_GROUPS else text.translate(str.maketrans(",.", ".,"))


def as_datetimes(column: pd.Series, kind: Kind) -> pd.Series:
    """Text in a date format as datetimes; missing for text of another format."""
    text = column.astype("string").str.strip()
    if kind == DATE:
        text = text.where(text.str.fullmatch(_ISO).fillna(False))
        return pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    return pd.to_datetime(text, format=kind.removeprefix(f"{DATE} "), errors="coerce")


def date_kinds(column: pd.Series, dayfirst: bool | None) -> Iterator[Kind]:
    """Date formats that a column's text may have, the likelier first.

    Args:
        column: text.
        dayfirst: whether 1/2/2024 is the first of February; None to infer it from the values.
    """
    first = str(column.iloc[0]).strip() if len(column) else ""
    if not re.search(r"\d", first) or len(first) > 30:
        return
    yield DATE
    time = next((time for time in reversed(_TIMES) if time.count(":") == first.count(":")), None)
    if time is None:
        return
    if re.fullmatch(r"\D*\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}.*", first):
        for day, month in _DAY_OR_MONTH:
            if day[2] in first.partition(" ")[0]:
                formats = (day, month) if dayfirst is not False else (month, day)
                yield from (f"{DATE} {each}{time}" for each in formats)
    yield from (f"{DATE} {each}{time}" for each in (*_YEAR_FIRST[:2], *_WRITTEN_OUT))


def is_ambiguous(column: pd.Series, kind: Kind) -> bool:
    """Whether dates can also be read with day and month swapped."""
    if "/" not in kind and "-" not in kind:
        return False
    swapped = kind.replace("%d", "%D").replace("%m", "%d").replace("%D", "%m")
    ours, other = as_datetimes(column, kind), as_datetimes(column, swapped)
    return bool("%d" in kind and "%m" in kind and other.notna().all() and not ours.equals(other))


def written_kinds(column: pd.Series, dayfirst: bool | None) -> Iterator[Kind]:
    """Kinds that a column of text may be besides words."""
    yield from (NUMBERS, COMMA_GROUPS, POINT_GROUPS)
    yield from date_kinds(column, dayfirst)
