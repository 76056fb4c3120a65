"""Profiles of a raw table's columns: numbers, dates, categories, or no input."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from trainables.cell_formats import (
    COMMA_GROUPS,
    DATE,
    POINT_GROUPS,
    WORDS,
    Kind,
    is_date,
    is_number,
)
from trainables.frames import filled_values, kind_of
from trainables.table import MAX_CATEGORIES

Use = Literal["numbers", "date", "categories", "identifier", "text", "empty", "constant"]

DROPPED: frozenset[Use] = frozenset(("identifier", "text", "empty", "constant"))
"""Uses of columns that are no inputs."""

EXAMPLES, EXAMPLE_WIDTH = 3, 20
MOST_LINES = 30  # columns that are listed one by one
SPACES = 1.5  # mean number of spaces in a value from which it is a sentence, not a name
FEW_ROWS = 20  # in fewer rows all values may differ by chance
IDENTIFIER = re.compile(
    r"(?:^|[_\s.-])(?:id|ids|uuid|guid|key|index|nr|no|number|code)$|^unnamed: 0$|[a-z]ID$|Id$"
)
_WRITTEN = {COMMA_GROUPS: " (1,234.5)", POINT_GROUPS: " (1.234,5)"}
_STRFTIME = {"%Y": "year", "%m": "month", "%d": "day", "%b": "month", "%B": "month"}


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """The profile of one column of a table.

    Attributes:
        name: its header.
        use: numbers, dates and categories are inputs; an identifier (another value in each row), text (more
            than 100 distinct values), an empty column and one of a single value are not.
        kind: how its values are written.
        rows: rows of the table.
        missing: rows without a value.
        distinct: number of different values.
        examples: some values, as they are written.
        ambiguous: whether its dates can be read with the month or the day first.
    """

    name: str
    use: Use
    kind: Kind
    rows: int
    missing: int
    distinct: int
    examples: tuple[str, ...]
    ambiguous: bool = False

    @property
    def is_input(self) -> bool:
        """Whether the target may depend on the column."""
        return self.use not in DROPPED

    @property
    def may_be_target(self) -> bool:
        """Whether the column can be predicted: numbers, or categories."""
        return self.use in ("numbers", "categories") and self.distinct > 1

    @property
    def what(self) -> str:
        """What it is, in words."""
        if self.use == "numbers":
            return f"numbers{_WRITTEN.get(self.kind, '')}"
        if self.use == "date":
            named = re.findall(r"%[YmdbB]", self.kind)
            form = "/".join(_STRFTIME[each] for each in named)
            return f"dates ({form})" if form else "dates"
        if self.use == "categories":
            return f"{self.distinct} categories"
        return {"text": f"text, {self.distinct} different", "constant": "one value alone"}.get(
            self.use, self.use
        )


def profile(frame: pd.DataFrame, dayfirst: bool | None = None) -> list[ColumnProfile]:
    """Profiles of the columns of a table.

    Args:
        frame: as `trainables.frames.read_frame` returns it.
        dayfirst: whether 1/2/2024 is the first of February; None to infer it from the values.
    """
    return [_column(frame[name], str(name), dayfirst) for name in frame.columns]


def table_lines(columns: Sequence[ColumnProfile]) -> list[str]:
    """The profiles as a text table, one line each below a header; those after the first 30 are counted."""
    cells = [("column", "what it is", "missing", "values")]
    cells += [
        (each.name, each.what, f"{each.missing:,}" if each.missing else "", ", ".join(each.examples))
        for each in columns[:MOST_LINES]
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = [
        f"  {name:<{widths[0]}}  {what:<{widths[1]}}  {missing:>{widths[2]}}  {values}".rstrip()
        for name, what, missing, values in cells
    ]
    if rest := columns[MOST_LINES:]:
        uses = Counter(each.use for each in rest).most_common()
        lines.append(f"  and {len(rest):,} more: {', '.join(f'{use} ({count:,})' for use, count in uses)}")
    return lines


def _column(column: pd.Series, name: str, dayfirst: bool | None) -> ColumnProfile:
    known = filled_values(column)
    kind, distinct = kind_of(column, dayfirst), int(known.astype("string").nunique())
    ambiguous = dayfirst is None and kind == WORDS and is_date(kind_of(column, dayfirst=True))
    return ColumnProfile(
        name=name,
        use=_use(known, len(column), name, DATE if ambiguous else kind, distinct),
        kind=kind,
        rows=len(column),
        missing=len(column) - len(known),
        distinct=distinct,
        examples=_examples(known),
        ambiguous=ambiguous,
    )


def _use(known: pd.Series, rows: int, name: str, kind: Kind, distinct: int) -> Use:
    if not len(known):
        return "empty"
    if distinct == 1 and len(known) == rows:
        return "constant"  # gaps would carry information
    if len(known) >= FEW_ROWS and _identifies(known, name, kind, distinct):
        return "identifier"
    if kind == WORDS and distinct == len(known) and len(known) >= FEW_ROWS:
        return "text"
    if is_date(kind):
        return "date"
    if is_number(kind):
        return "numbers"
    return "text" if distinct > MAX_CATEGORIES else "categories"


def _identifies(known: pd.Series, name: str, kind: Kind, distinct: int) -> bool:
    """Whether values identify rows: all differ; words, or integers that count or have such a header."""
    if distinct < len(known) or is_date(kind):
        return False
    if not is_number(kind):
        return float(known.astype("string").str.count(r"\s").mean()) < SPACES
    if not pd.api.types.is_integer_dtype(known):
        return False
    counts = bool((known.diff().dropna() == 1).all())
    return counts or IDENTIFIER.search(name) is not None or IDENTIFIER.search(name.lower()) is not None


def _examples(known: pd.Series) -> tuple[str, ...]:
    """The first different values, shortened."""
    values = [str(value) for value in known.astype("string").drop_duplicates()[:EXAMPLES]]
    return tuple(each if len(each) <= EXAMPLE_WIDTH else f"{each[: EXAMPLE_WIDTH - 1]}…" for each in values)
