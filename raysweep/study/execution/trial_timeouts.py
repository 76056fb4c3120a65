"""Which trials hang: say nothing for longer than the sweep allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass
class Watchdog:
    """Knows when each trial was last heard of.

    Args:
        limit_s: the longest an epoch may take, seconds; None for any.
        tolerance_s: for how long a trial may keep finished epochs to itself, seconds.
        clock: monotonic seconds.
    """

    limit_s: float | None
    tolerance_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _heard: dict[str, float] = field(default_factory=dict)

    def heard(self, trial: str) -> None:
        """The trial gave a sign of life: it started, reported, or saved."""
        self._heard[trial] = self.clock()

    def overdue(self, running: Iterable[str]) -> list[str]:
        """Those of the trials running now that have been silent for too long.

        The silence of a trial that does not run is not counted.
        """
        if self.limit_s is None:
            return []
        now = self.clock()
        self._heard = {trial: self._heard.get(trial, now) for trial in running}
        return [trial for trial, at in self._heard.items() if now - at > self.limit_s + self.tolerance_s]
