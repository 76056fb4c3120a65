"""Problems of a sweep file, one line each, all reported at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from raysweep.errors import RaysweepError
from raysweep.formatting import printable

Key = tuple[str | int, ...]
"""Path in a document: ``("run", "seeds", 0)`` is the first seed."""

_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem, or (as a warning) something that will not do what it seems to.

    Attributes:
        file: the sweep file as the user named it, or ``--set a.b`` for an override.
        line: from 1; None without a line (an override, a file that cannot be read).
        key: dotted, as in ``run.optimizer_config.lr``; may be empty.
        what: the problem, with the value.
        fix: what to do about it; may be empty.
    """

    file: str
    line: int | None
    key: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        message = f"{self.what}; {self.fix}" if self.fix else self.what
        return printable(": ".join(part for part in (where, self.key, message) if part))


class SweepError(RaysweepError):
    """A sweep file that cannot be run.

    Attributes:
        problems: all problems, in the order of the file; never empty.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        assert self.problems, "an error without a problem has no message"
        super().__init__(*self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def dotted(key: Key) -> str:
    """A key as users write it.

    >>> dotted(("run", "seeds", 0))
    'run.seeds[0]'
    """
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def shown(value: Any) -> str:
    """A value as in YAML, shortened to fit on one line.

    >>> shown("relu"), shown(True), shown(None), shown([1, 2])
    ("'relu'", 'true', 'null', '[1, 2]')
    """
    if isinstance(value, str):
        text = f"'{value}'"
    elif isinstance(value, float):
        text = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant; None if none is similar enough.

    >>> nearest("reduction_facto", ["reduction_factor", "grace_period"])
    'reduction_factor'
    >>> nearest("lr", ["optimizer_config.lr", "net_config.layers"])
    'optimizer_config.lr'
    """
    names = list(known)
    ends = [name for name in names if name.endswith(f".{word}")]
    if len(ends) == 1 and word not in names:
        return ends[0]
    cutoff = 0.5 if len(word) <= 3 else 0.6  # `le` and `lr` agree in only half of their letters
    near = difflib.get_close_matches(word.lower(), {name.lower() for name in names}, n=1, cutoff=cutoff)
    alike = [name for name in names if name.lower() in near]
    return max(alike, key=lambda name: difflib.SequenceMatcher(None, word, name).ratio(), default=None)


def suggestion(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """How to fix an unknown word: the nearest known one, `otherwise`, or the known ones."""
    names = list(known)
    near = nearest(word, names)
    if near is not None:
        return f"did you mean '{near}'?"
    if not names:
        return otherwise
    few = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return otherwise or f"known here: {few}"


def how_to_write_number(text: str) -> str:
    """How to write the number that a text means; "" if it means none.

    >>> how_to_write_number("0.5"), how_to_write_number("0,5"), how_to_write_number("half")
    ('remove the quotes', 'write 0.5, with a decimal point', '')
    >>> how_to_write_number("1_000")  # a number in Python, but not in YAML 1.2
    'write 1000'
    """
    if _is_number(text):
        return "remove the quotes" if "_" not in text else f"write {text.replace('_', '')}"
    pointed = text.replace(",", ".")
    return f"write {pointed}, with a decimal point" if _is_number(pointed) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
