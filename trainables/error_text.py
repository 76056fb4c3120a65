"""Texts of errors and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def few(values: Iterable[object], limit: int, show: Callable[[object], str] = str) -> str:
    """The first values in one line, and how many more there are.

    >>> few(["a", "b", "c"], 2), few("ab", 2, repr)
    ('a, b and 1 more', "'a', 'b'")
    """
    texts = [show(value) for value in values]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more
