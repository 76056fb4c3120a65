"""A process that finds, before its first trial, that no trial of the sweep could go well. Knows no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence

FIRST_STEP_FAILED = "not fit to run: "
"""Begins the message of every `FirstStepFailed`, by which a driver knows it in a worker's traceback."""


class FirstStepFailed(RuntimeError):
    """The run's own default cannot take its first step. Its message says all: it crosses processes."""


def first_step_failed(reasons: Sequence[str]) -> FirstStepFailed:
    """The error that says so, for these reasons, a line each."""
    return FirstStepFailed(FIRST_STEP_FAILED + json.dumps(list(reasons)))


def reasons_in(error: str) -> tuple[str, ...]:
    """The reasons in a traceback that ends by `FirstStepFailed`; none in any other.

    >>> unfit_reasons(f"trainables.first_step_failed.FirstStepFailed: {unfit(['no gradient'])}")
    ('no gradient',)
    >>> unfit_reasons("ValueError: x")
    ()
    """
    line = error.rpartition(FIRST_STEP_FAILED)[2].partition("\n")[0] if FIRST_STEP_FAILED in error else "[]"
    try:
        return tuple(map(str, json.loads(line)))
    except ValueError:  # cut short on its way
        return (line[:300],)
