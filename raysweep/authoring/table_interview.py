"""Shows a table's columns, and asks once which to predict and which to leave out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from raysweep.config import Problem, SweepError
from raysweep.config.problem import suggestion
from trainables.csv_header import encoding_of, written_separator
from trainables.frames import UnreadableTable
from trainables.run_config import RunError

if TYPE_CHECKING:
    import pandas as pd

    from trainables.column_profile import ColumnProfile
    from trainables.table import Table

Ask = Callable[[str, Any], Any]
"""Asks the user: takes the question and the answer to an empty line (None: an answer is required)."""
Tell = Callable[[str], None]
"""Prints a line."""
Read = TypeVar("Read")

SHOWN_CLASSES = 3
RARE = 0.1
"""A class with a smaller share of the rows may be absent from a split unless this is stratified."""


@dataclass(frozen=True, slots=True)
class TableAnswers:
    """What was found in a table, and answered.

    Attributes:
        target: the column to predict; None without a table.
        task: "regression" or "classification".
        rows: with a target; None without a table.
        drop: columns that are not inputs.
        reading: how it is written, if not as comma-separated UTF-8: `sep`, `encoding`, `dayfirst`.
        stratify: whether a class is rare.
    """

    target: str | None
    task: str
    rows: int | None
    drop: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    stratify: bool = False

    @classmethod
    def none(cls) -> TableAnswers:
        """The answers for data that are not a table."""
        return cls(None, "regression", None)


def ask_of_table(data: str, target: str | None, drop: str | None, ask: Ask, tell: Tell) -> TableAnswers:
    """Show a table's columns, and ask what to predict and what to leave out.

    Args:
        data: its path.
        target: the column to predict; None to ask.
        drop: names of columns by commas; None to ask.
        ask: asks the user, or answers with the default.
        tell: prints a line.

    Raises:
        SweepError: if it cannot be read, or an answer does not fit it.
    """
    from trainables.column_profile import profile, table_lines  # imports pandas

    reading = how_written(data)
    frame = _frame(data, reading)
    columns = profile(frame)
    for line in (f"{data}: {len(frame):,} rows, {len(columns)} columns", *table_lines(columns)):
        tell(line)
    reading |= _day_first(columns, ask, tell)
    chosen = _target(data, columns, target, ask)
    dropped = _dropped(data, columns, chosen, drop, ask, tell)
    table = _table(data, frame.drop(columns=list(dropped)), chosen, reading.get("dayfirst"))
    line, rarest = about_target(table)
    tell(f"predicting {chosen!r} ({line})")
    return TableAnswers(chosen, table.task, len(table), dropped, reading, rarest < RARE)


def how_written(data: str) -> dict[str, Any]:
    """How a table is written: its `sep` and `encoding`, if they are not the usual ones.

    Raises:
        SweepError: if there is no such file.
    """
    file = Path(data)
    if not file.is_file():
        raise SweepError(
            [Problem(data, None, "", "there is no such file", "give the table's path from here")]
        )
    if not file.name.endswith((".csv", ".csv.gz")):
        return {}
    encoding = encoding_of(file)
    separator = written_separator(file, encoding or None)
    return {name: value for name, value in (("sep", separator), ("encoding", encoding)) if value}


def about_target(table: Table) -> tuple[str, float]:
    """A description of the target, and the share of the rarest class (1 for numbers)."""
    import numpy as np

    values = table.all_targets.values
    if table.task == "regression":
        low, middle, high = np.quantile(values, (0, 0.5, 1))
        return f"{low:.6g} to {high:.6g}, median {middle:.6g}", 1.0
    shares = np.bincount(values, minlength=len(table.classes)) / len(values)
    order = np.argsort(shares, kind="stable")
    shown = order[:1] if len(order) == 2 else order[::-1][:SHOWN_CLASSES]
    named = ", ".join(f"{table.classes[code]} {100 * shares[code]:.1f} %" for code in shown)
    more = len(order) - len(shown) if len(order) > 2 else 0
    return named + (f" and {more} more" if more else ""), float(shares.min())


def _frame(data: str, reading: Mapping[str, Any]) -> pd.DataFrame:
    from trainables.frames import read_frame

    return _read(data, lambda: read_frame(Path(data), **reading))


def _table(data: str, frame: pd.DataFrame, target: str, dayfirst: bool | None) -> Table:
    from trainables.table import Table

    return _read(data, lambda: Table(frame, target, dayfirst=dayfirst))


def _read(data: str, read: Callable[[], Read]) -> Read:
    """The result of `read`.

    Raises:
        SweepError: if the file cannot be read.
    """
    try:
        return read()
    except UnreadableTable as error:
        raise SweepError([Problem(data, None, "", error.what)]) from None
    except RunError as error:
        raise SweepError([Problem(data, None, "", str(error))]) from None
    # Raised by pandas and pyarrow, depending on what the file holds.
    except (OSError, EOFError, ValueError, ArithmeticError) as error:
        first = str(error).partition("\n")[0]
        raise SweepError([Problem(data, None, "", f"cannot be read as a table: {first}")]) from None


def _day_first(columns: Sequence[ColumnProfile], ask: Ask, tell: Tell) -> dict[str, bool]:
    """Whether the day comes first in dates, asked if some are ambiguous."""
    unclear = [each for each in columns if each.ambiguous]
    if not unclear:
        return {}
    example = unclear[0].examples[0]
    answer = str(ask(f"Dates as {example} in {unclear[0].name!r}: day or month first", "day"))
    first = not answer.strip().lower().startswith("m")
    tell(f"dates are read with the {'day' if first else 'month'} first: {', '.join(c.name for c in unclear)}")
    return {"dayfirst": first}


def _target(data: str, columns: Sequence[ColumnProfile], given: str | None, ask: Ask) -> str:
    """The column to predict: the given one, or by default the last that can be predicted.

    Raises:
        SweepError: if there is none, or the chosen one is empty or constant.
    """
    possible = [each.name for each in columns if each.may_be_target]
    if given is None and not possible:
        raise SweepError([Problem(data, None, "", "no column can be predicted: none has two values")])
    target = str(given if given is not None else ask("Column to predict", possible[-1]))
    by_name = {each.name: each for each in columns}
    if target not in by_name:
        what = f"target: no column {target!r}; there are {', '.join(by_name)}"
        raise SweepError([Problem(data, None, "", what, suggestion(target, list(by_name)))])
    if by_name[target].distinct < 2:
        values = "only one value" if by_name[target].distinct else "no value"
        fix = f"predict another, such as {possible[-1]}" if possible else ""
        raise SweepError([Problem(data, None, "", f"target: column {target!r} has {values}", fix)])
    return target


def _dropped(
    data: str, columns: Sequence[ColumnProfile], target: str, given: str | None, ask: Ask, tell: Tell
) -> tuple[str, ...]:
    """The columns to leave out: proposed, asked for once, and printed.

    Raises:
        SweepError: if there is no such column.
    """
    useless = [each for each in columns if not each.is_input and each.name != target]
    if given is None and not useless:
        return ()
    proposed = ", ".join(each.name for each in useless)
    answer = str(
        given if given is not None else ask("Columns to leave out, by commas (- for none)", proposed)
    )
    names = [name.strip() for name in answer.split(",") if name.strip() not in ("", "-")]
    existing = [each.name for each in columns]
    for name in names:
        if name not in existing:
            what = f"drop: no column {name!r}"
            raise SweepError([Problem(data, None, "", what, suggestion(name, existing))])
        if name == target:
            raise SweepError([Problem(data, None, "", f"drop: {name!r} is the column to predict")])
    why = {each.name: each.what for each in columns}
    if names:
        tell(f"left out: {', '.join(f'{name} ({why[name]})' for name in names)}")
    return tuple(names)
