"""The hooks by which a service extends the adapter; a plain Ray Tune program sets none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schedulers.tune.lane_manager import LaneManager
from schedulers.tune.listener import Listener
from schedulers.tune.oom_retry import never


def unchanged() -> None:
    """None: the slots stay as they are."""


def no_reason(subject: object) -> str:
    """Empty: there is no reason against going on."""
    return ""


@dataclass
class AdapterHooks:
    """The hooks of a service. They are not pickled, as they hold open files and threads.

    Attributes:
        listener: is notified of all that happens.
        find_checkpoint: (trial id, resource) -> path or URI, for donors unknown to Ray (any more).
        more_trials: whether trials are still to come that Ray has not seen; None: ask Ray's search.
        halting: whether the run is asked to stop; then trials that would go on are saved and paused, and
            no paused trial is resumed or ended.
        objection: why a trial with this result must not go on, whatever the rule decides, and ends as
            infeasible; "" if it may go on.
        slots_now: trials that can run at once, 0 while all have to wait; None if that has not changed.
        repeats: whether epochs that a trial runs a second time count once, so that a pause without a
            checkpoint (a full disk, a loop that keeps none) costs only time.
        ahead_s: seconds that a trial may train between two answers while the rule has nothing to decide;
            its epochs are then reported together. 0: each by itself. Only for trainables whose
            `train_buffered` takes epochs and seconds and marks results (`TorchTrainable` is one).
        lanes: runs several trials per process; None: each has a process of its own.
        lost_for_good: why a trial that has just lost its worker is not to be run again; "" if it is.
    """

    listener: Listener = field(default_factory=Listener)
    find_checkpoint: Callable[[str, int], str | None] | None = None
    more_trials: Callable[[], bool] | None = None
    halting: Callable[[], bool] = never
    objection: Callable[[Mapping[str, Any]], str] = no_reason
    lost_for_good: Callable[[str], str] = no_reason
    slots_now: Callable[[], int | None] = unchanged
    repeats: bool = False
    ahead_s: float = 0.0
    lanes: LaneManager | None = None

    def __reduce__(self) -> tuple[type[AdapterHooks], tuple[()]]:
        """Pickle as a new one: Tuner pickles a scheduler."""
        return AdapterHooks, ()

    def connect(self, hooks: Mapping[str, Any]) -> None:
        """Set the given hooks; None leaves a hook as it is.

        Raises:
            TypeError: for an unknown hook.
        """
        for name, value in hooks.items():
            if name not in vars(self):
                raise TypeError(f"unknown hook {name!r}; the hooks are {', '.join(vars(self))}")
            if value is not None:
                setattr(self, name, value)
