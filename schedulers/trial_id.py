"""A trial's id: its number in five digits, the same in Ray, Optuna, MLflow and on disk."""

from __future__ import annotations


def trial_id(number: int) -> str:
    """Trial number -> trial id.

    >>> trial_id(17)
    '00017'
    """
    return f"{number:05d}"
