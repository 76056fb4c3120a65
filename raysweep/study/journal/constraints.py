"""Trials that break a constraint end at once: `constraints` of the sweep file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raysweep.config.constraint import Constraint


def broken(constraints: Sequence[Constraint], result: Mapping[str, Any]) -> str:
    """Which constraint a trial's result breaks, in words for the user; empty if none."""
    numbers = {key: float(value) for key, value in result.items() if isinstance(value, int | float)}
    for constraint in constraints:
        if constraint.violation(numbers) > 0:
            return f"breaks a constraint: {constraint}, and it is {numbers[constraint.metric]:g}"
    return ""
