"""Search spaces in Python: each function returns the range as a sweep file writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Range = dict[str, Any]
"""A parameter as a sweep file writes it."""


def uniform(low: float, high: float, *, step: float | None = None) -> Range:
    """Any number from `low` to `high`, both included; with `step`, one of low, low + step, ...

    >>> uniform(0.0, 0.5)
    {'type': 'float', 'min': 0.0, 'max': 0.5}
    """
    return {"type": "float", "min": low, "max": high} | ({} if step is None else {"step": step})


def loguniform(low: float, high: float) -> Range:
    """Any number from `low` (above 0) to `high`, spread evenly over orders of magnitude.

    >>> loguniform(1e-4, 0.1)
    {'type': 'float', 'min': 0.0001, 'max': 0.1, 'log': True}
    """
    return {"type": "float", "min": low, "max": high, "log": True}


def integers(low: int, high: int, *, step: int | None = None, log: bool = False) -> Range:
    """Any whole number from `low` to `high`, both included.

    >>> integers(1, 5)
    {'type': 'int', 'min': 1, 'max': 5}
    """
    more = ({} if step is None else {"step": step}) | ({"log": True} if log else {})
    return {"type": "int", "min": low, "max": high} | more


def choice(values: Sequence[Any]) -> Range:
    """One of these values.

    >>> choice(["relu", "gelu"])
    {'type': 'categorical', 'choices': ['relu', 'gelu']}
    """
    return {"type": "categorical", "choices": list(values)}


def is_range(value: Any) -> bool:
    """Whether a value of a search space is a range, rather than a fixed setting."""
    return isinstance(value, Mapping) and "type" in value
