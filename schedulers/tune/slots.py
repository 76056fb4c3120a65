"""Filling every slot at the start of a run.

With reused actors a trial that ends early leaves its process to the next one waiting, which may be
one whose own process is still starting: that process is then dropped, and its slot stays empty. Two
slots ran fifty short trials in one process so. Holding back the first endings until each slot has
its process fixes it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial

from schedulers.rule import Decision, Pause, Stop

HOLD_S = 20.0  # a slot that has no process by then may be taken by somebody else


class SlotWarmup:
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


class DeferredDecisions:
    """Decisions that wait for the slots to fill."""

    def __init__(self) -> None:
        self._decisions: dict[str, Decision] = {}
        self._filling = SlotWarmup()

    def saw(self, result: Mapping[str, Any]) -> None:
        """Note the process a result came from."""
        self._filling.saw(result)

    def hold(self, trial_id: str, decision: Decision, slots: int | None, live: Mapping[str, Trial]) -> bool:
        """Keep a decision for later, if ending or pausing a trial now would leave a slot empty."""
        if not self._must_hold(slots, live):
            return False
        self._decisions[trial_id] = decision
        return True

    def forget(self, trial_id: str) -> None:
        """Its decision was overtaken."""
        self._decisions.pop(trial_id, None)

    def release(self, controller: Any, slots: int | None, live: Mapping[str, Trial]) -> None:
        """Carry out what waits, once nothing is left to wait for."""
        if not self._decisions or self._must_hold(slots, live):
            return
        for name, decision in list(self._decisions.items()):
            trial = live.get(name)
            if trial is not None and trial.is_saving:
                continue  # ending it now would leave a stale STOP behind (:1441)
            del self._decisions[name]
            if trial is None or trial.status != Trial.RUNNING:
                continue
            if isinstance(decision, Stop):
                controller.stop_trial(trial)
            else:
                save = isinstance(decision, Pause) and decision.save
                controller.pause_trial(trial, should_checkpoint=save)

    def _must_hold(self, slots: int | None, live: Mapping[str, Trial]) -> bool:
        starting = any(trial.status == Trial.PENDING for trial in live.values())
        return self._filling.must_hold(slots, starting, time.monotonic())


def how_many_fit(wanted: Mapping[str, float], offered: Mapping[str, float]) -> int:
    """How many trials that each want so much fit into what is offered; one at least.

    >>> how_many_fit({"CPU": 1, "GPU": 0.25}, {"CPU": 16, "GPU": 2})
    8
    """
    # 1e-9: 0.6 / 0.2 is 2.9999999999999996 in floating point, and means 3.
    fits = [int(offered.get(kind, 0) / amount + 1e-9) for kind, amount in wanted.items() if amount > 0]
    return max(min(fits, default=1), 1)
