"""Values as text, the same in all forms of a report: short enough for a table, exact enough to use."""

from __future__ import annotations

import math
from typing import Any


def number(value: float | None) -> str:
    """A metric's value to six digits; "-" for None.

    >>> number(0.000312), number(None), number(float("nan"))
    ('0.000312', '-', 'nan')
    """
    return "-" if value is None else f"{value:.6g}"


def setting(value: object) -> str:
    """A parameter's value as text, floats to five digits.

    >>> setting(0.03421), setting(64), setting(None)
    ('0.03421', '64', '-')
    """
    return "-" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def short_choice(value: object) -> str:
    """A choice as an axis label: the last part of a dotted path.

    >>> short_choice("torch.optim.AdamW"), short_choice(64), short_choice("0.5")
    ('AdamW', '64', '0.5')
    """
    text = setting(value)
    parts = text.split(".")
    return parts[-1] if len(parts) > 1 and all(part.isidentifier() for part in parts) else text


def percent(share: float | None) -> str:
    """A share of 1 in percent; "-" for None.

    >>> percent(0.4), percent(None)
    ('40 %', '-')
    """
    return "-" if share is None else f"{100 * share:.0f} %"


def plain(value: Any) -> Any:
    """A value as JSON allows it: NaN and infinities, which JSON lacks, become texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value
