"""What a first sweep file says of a table: its columns are shown, and what to drop is asked once."""

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
Tell = Callable[[str], None]
Read = TypeVar("Read")

SHOWN_CLASSES = 3
RARE = 0.1
"""A class with a smaller share of the rows may miss a split unless each gets its part."""


@dataclass(frozen=True, slots=True)
class TableAnswers:
    """What was seen of a table, and answered.

    Attributes:
        target: the column to predict; None where there is no table.
        task: "regression" or "classification".
        rows: with a target; None where there is no table.
        drop: columns that are no inputs.
        reading: how it is written, where not as comma-separated UTF-8: `sep`, `encoding`, `dayfirst`.
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
        """Of data that are no table."""
        return cls(None, "regression", None)


def ask_of_table(data: str, target: str | None, drop: str | None, ask: Ask, tell: Tell) -> TableAnswers:
    """Show a table's columns, and ask what to predict and what to leave out.

    Args:
        data: its path.
        target: the column to predict; None to ask.
        drop: names of columns by commas; None to ask.
        ask: asks a person, or answers for them.
        tell: says a line.

    Raises:
        SweepError: if it cannot be read, or an answer does not fit it.
    """
    from trainables.column_profile import profile, table_lines  # brings pandas

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
    """How a table is written: its `sep` and `encoding`, where they are not the usual ones.

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
    return {word: value for word, value in (("sep", separator), ("encoding", encoding)) if value}


def about_target(table: Table) -> tuple[str, float]:
    """What there is to predict, in words, and the share of the rarest class; 1 for numbers."""
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
    """What `read` gives.

    Raises:
        SweepError: if the file cannot be read so.
    """
    try:
        return read()
    except UnreadableTable as error:
        raise SweepError([Problem(data, None, "", error.what)]) from None
    except RunError as error:
        raise SweepError([Problem(data, None, "", str(error))]) from None
    # Whatever the file holds: these are pandas' and pyarrow's.
    except (OSError, EOFError, ValueError, ArithmeticError) as error:
        first = str(error).partition("\n")[0]
        raise SweepError([Problem(data, None, "", f"cannot be read as a table: {first}")]) from None


def _day_first(columns: Sequence[ColumnProfile], ask: Ask, tell: Tell) -> dict[str, bool]:
    """Whether the day is first in dates that leave it open."""
    unclear = [each for each in columns if each.ambiguous]
    if not unclear:
        return {}
    example = unclear[0].examples[0]
    found = str(ask(f"Dates as {example} in {unclear[0].name!r}: day or month first", "day")).strip().lower()
    first = not found.startswith("m")
    tell(f"dates are read with the {'day' if first else 'month'} first: {', '.join(c.name for c in unclear)}")
    return {"dayfirst": first}


def _target(data: str, columns: Sequence[ColumnProfile], given: str | None, ask: Ask) -> str:
    """The column to predict: the one given, or the last that can be.

    Raises:
        SweepError: if there is none, or the one chosen says nothing.
    """
    possible = [each.name for each in columns if each.may_be_target]
    if given is None and not possible:
        raise SweepError([Problem(data, None, "", "no column could be predicted: none has two values")])
    target = str(given if given is not None else ask("Column to predict", possible[-1]))
    known = {each.name: each for each in columns}
    if target not in known:
        names = list(known)
        raise SweepError(
            [
                Problem(
                    data,
                    None,
                    "",
                    f"target: no column {target!r}; there are {', '.join(names)}",
                    suggestion(target, names),
                )
            ]
        )
    if known[target].distinct < 2:
        held = "one value alone" if known[target].distinct else "no value"
        why = f"target: column {target!r} has {held}"
        raise SweepError(
            [Problem(data, None, "", why, f"predict another, such as {possible[-1]}" if possible else "")]
        )
    return target


def _dropped(
    data: str, columns: Sequence[ColumnProfile], target: str, given: str | None, ask: Ask, tell: Tell
) -> tuple[str, ...]:
    """Columns that are no inputs: proposed, asked once, and said.

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
    known = [each.name for each in columns]
    for name in names:
        if name not in known:
            raise SweepError([Problem(data, None, "", f"drop: no column {name!r}", suggestion(name, known))])
        if name == target:
            raise SweepError([Problem(data, None, "", f"drop: {name!r} is the column to predict")])
    why = {each.name: each.what for each in columns}
    if names:
        tell(f"left out: {', '.join(f'{name} ({why[name]})' for name in names)}")
    return tuple(names)
