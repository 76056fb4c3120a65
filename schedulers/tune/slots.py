"""Filling every slot with a process at the start of a run.

With reused actors a trial that ends early leaves its process to the next waiting trial, whose own
process may still be starting: that process is then dropped, and its slot stays empty. In this way fifty
short trials on two slots ran in one process. So the first endings are held back until each slot has
its process.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial

from schedulers.rule import Decision, Pause, Stop

HOLD_S = 20.0  # a slot without a process by then may be taken by another program


class SlotWarmup:
    """Tracks which processes have reported, and since when endings are held back."""

    def __init__(self) -> None:
        self.processes: set[tuple[Any, Any]] = set()
        self.since: float | None = None

    def note_process(self, result: Mapping[str, Any]) -> None:
        """Note the process that a result came from."""
        self.processes.add((result.get("hostname"), result.get("pid")))

    def must_hold(self, slots: int | None, starting: bool, now_s: float) -> bool:
        """Whether to hold an ending back: a slot has no process yet, and one is starting.

        Args:
            slots: trials that run at once; None if unknown, and then nothing is held back.
            starting: whether a trial waits for its process.
            now_s: monotonic time, seconds.
        """
        if slots is None or not starting or len(self.processes) >= slots:
            return False
        if self.since is None:
            self.since = now_s
        return now_s - self.since < HOLD_S


class DeferredDecisions:
    """Decisions held back until all slots have a process."""

    def __init__(self) -> None:
        self._decisions: dict[str, Decision] = {}
        self._warmup = SlotWarmup()

    def note_process(self, result: Mapping[str, Any]) -> None:
        """Note the process that a result came from."""
        self._warmup.note_process(result)

    def hold(self, trial_id: str, decision: Decision, slots: int | None, live: Mapping[str, Trial]) -> bool:
        """Hold a decision back if ending or pausing the trial now would leave a slot empty; False if not."""
        if not self._must_hold(slots, live):
            return False
        self._decisions[trial_id] = decision
        return True

    def forget(self, trial_id: str) -> None:
        """Drop a trial's decision."""
        self._decisions.pop(trial_id, None)

    def release(self, controller: Any, slots: int | None, live: Mapping[str, Trial]) -> None:
        """Carry out the decisions held back, once no slot has to be waited for."""
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
        return self._warmup.must_hold(slots, starting, time.monotonic())


def how_many_fit(wanted: Mapping[str, float], offered: Mapping[str, float]) -> int:
    """Number of requests for the resources `wanted` that fit into `offered`; at least 1.

    >>> how_many_fit({"CPU": 1, "GPU": 0.25}, {"CPU": 16, "GPU": 2})
    8
    """
    # 1e-9: 0.6 / 0.2 is 2.9999999999999996 in floating point, and means 3.
    fits = [int(offered.get(kind, 0) / amount + 1e-9) for kind, amount in wanted.items() if amount > 0]
    return max(min(fits, default=1), 1)
