"""A process that finds, before its first trial, that no trial of the sweep could go well. Knows no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence

UNFIT = "not fit to run: "
"""Begins the message of every `Unfit`, by which a driver knows it in a worker's traceback."""


class Unfit(RuntimeError):
    """The run's own default cannot take its first step. Its message says all: it crosses processes."""


def unfit(reasons: Sequence[str]) -> Unfit:
    """The error that says so, for these reasons, a line each."""
    return Unfit(UNFIT + json.dumps(list(reasons)))


def unfit_reasons(error: str) -> tuple[str, ...]:
    """The reasons in a traceback that ends by `Unfit`; none in any other.

    >>> unfit_reasons(f"trainables.unfit.Unfit: {unfit(['no gradient'])}")
    ('no gradient',)
    >>> unfit_reasons("ValueError: x")
    ()
    """
    line = error.rpartition(UNFIT)[2].partition("\n")[0] if UNFIT in error else "[]"
    try:
        return tuple(map(str, json.loads(line)))
    except ValueError:  # cut short on its way
        return (line[:300],)
