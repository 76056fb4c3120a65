"""Constraints of the sweep file on a trial's results; a trial that breaks one ends at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raysweep.config.constraint import Constraint


def broken_constraint(constraints: Sequence[Constraint], result: Mapping[str, Any]) -> str:
    """A message about the first constraint that a trial's result breaks; "" if it breaks none."""
    if not constraints:
        return ""  # this is asked for every epoch
    numbers = {key: float(value) for key, value in result.items() if isinstance(value, int | float)}
    for constraint in constraints:
        if constraint.violation(numbers) > 0:
            return f"breaks the constraint {constraint}: it is {numbers[constraint.metric]:g}"
    return ""
