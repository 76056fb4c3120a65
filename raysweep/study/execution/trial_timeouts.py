"""Detection of hung trials, which report nothing for longer than the sweep allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass
class Watchdog:
    """Finds the trials that have been silent for too long.

    Args:
        limit_s: the longest that an epoch may take, seconds; None for no limit.
        tolerance_s: how long a trial may hold back finished epochs, seconds.
        clock: monotonic seconds.
    """

    limit_s: float | None
    tolerance_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _heard: dict[str, float] = field(default_factory=dict)

    def heard(self, trial: str) -> None:
        """Note that the trial started, reported or saved a checkpoint."""
        self._heard[trial] = self.clock()

    def overdue(self, running: Iterable[str]) -> list[str]:
        """The running trials that have been silent for too long; only time in which a trial runs counts."""
        if self.limit_s is None:
            return []
        now = self.clock()
        self._heard = {trial: self._heard.get(trial, now) for trial in running}
        return [trial for trial, at in self._heard.items() if now - at > self.limit_s + self.tolerance_s]
