"""Values and parameters as text: short enough for a terminal, exact enough to use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysweep.formatting import setting, short_keys


def number(value: float | None) -> str:
    """A metric's value in at most ten characters.

    >>> number(0.123456), number(1234567.0), number(None), number(float("nan"))
    ('0.12346', '1.2346e+06', '-', 'nan')
    """
    return "-" if value is None else f"{value:.5g}"


def settings(config: Mapping[str, Any]) -> str:
    """All searched parameters in one line.

    >>> settings({"net_config.layers": 4, "optimizer_config.lr": 0.1})
    'layers=4 lr=0.1'
    """
    names = short_keys(config)
    return " ".join(f"{names[key]}={setting(value)}" for key, value in config.items())
