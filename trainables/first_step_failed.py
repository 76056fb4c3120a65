"""The error of a process that finds before its first trial that no trial can succeed. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence


class FirstStepFailed(RuntimeError):
    """The default configuration of the run cannot take its first step.

    Attributes:
        reasons: why, one line each.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(f"not fit to run: {'; '.join(reasons)}")
        self.reasons = tuple(reasons)

    def __reduce__(self) -> tuple[type[FirstStepFailed], tuple[tuple[str, ...]]]:
        """Pickle by the reasons: the error is sent from a worker to the driver."""
        return type(self), (self.reasons,)
