"""A process that finds, before its first trial, that no trial of the sweep could go well. Knows no torch."""

from __future__ import annotations

from collections.abc import Sequence


class FirstStepFailed(RuntimeError):
    """The run's own default cannot take its first step.

    Attributes:
        reasons: why, a line each.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(f"not fit to run: {'; '.join(reasons)}")
        self.reasons = tuple(reasons)

    def __reduce__(self) -> tuple[type[FirstStepFailed], tuple[tuple[str, ...]]]:
        """By its reasons: it goes from a worker to the driver."""
        return type(self), (self.reasons,)
