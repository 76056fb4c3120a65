"""Filling every slot at the start of a run.

With reused actors a trial that ends early leaves its process to the next one waiting, which may be
one whose own process is still starting: that process is then dropped, and its slot stays empty. Two
slots ran fifty short trials in one process so. Holding back the first endings until each slot has
its process mends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HOLD_S = 20.0  # a slot that has no process by then may be taken by somebody else


class Filling:
    """Which slots' processes have been heard of, and since when endings are held back."""

    def __init__(self) -> None:
        self.processes: set[tuple[Any, Any]] = set()
        self.since: float | None = None

    def saw(self, result: Mapping[str, Any]) -> None:
        """Note the process a result came from."""
        self.processes.add((result.get("hostname"), result.get("pid")))

    def must_hold(self, slots: int | None, starting: bool, now_s: float) -> bool:
        """Whether to hold an ending back: some slot has no process yet, and one is starting.

        Args:
            slots: trials that run at once; None if nobody said, and then nothing is held.
            starting: whether a trial waits for its process.
            now_s: a monotonic clock.
        """
        if slots is None or not starting or len(self.processes) >= slots:
            return False
        if self.since is None:
            self.since = now_s
        return now_s - self.since < HOLD_S


def how_many_fit(wanted: Mapping[str, float], offered: Mapping[str, float]) -> int:
    """How many trials that each want so much fit into what is offered; one at least.

    >>> how_many_fit({"CPU": 1, "GPU": 0.25}, {"CPU": 16, "GPU": 2})
    8
    """
    # 1e-9: 0.6 / 0.2 is 2.9999999999999996 in floating point, and means 3.
    fits = [int(offered.get(kind, 0) / amount + 1e-9) for kind, amount in wanted.items() if amount > 0]
    return max(min(fits, default=1), 1)
