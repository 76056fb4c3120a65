"""What a service lends the adapter that it runs; a program of one's own lends it nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schedulers.tune.lane_manager import LaneManager
from schedulers.tune.listener import Listener


def never() -> bool:
    """Nobody asks the run to stop."""
    return False


def unchanged() -> None:
    """The slots stay as they are."""


def no_objection(result: Mapping[str, Any]) -> str:
    """Every trial may go on."""
    return ""


def never_for_good(trial_id: str) -> str:
    """Whoever lost its worker is run again, as Ray sees fit."""
    return ""


@dataclass
class AdapterHooks:
    """Pickled, it is unconnected: Tuner pickles a scheduler, and these hold open files and threads.

    Attributes:
        listener: hears all that happens.
        find_checkpoint: (trial id, resource) -> path or URI, for donors Ray does not know (any more).
        more_trials: whether trials are still to come that Ray has not seen; None: Ray's search knows.
        halting: whether the run is asked to stop: whoever would go on is saved and paused then, and
            nobody is woken or ended for waiting.
        objection: why a trial with this result must not go on, whatever the rule would say; "" if it
            may. It ends as infeasible.
        slots_now: trials that can run at once, where that changes while they run, 0 while all have to
            wait; None: as was said before.
        repeats: whether epochs that a trial runs a second time count once, so that a pause without a
            checkpoint (a full disk, a loop that keeps none) costs time only.
        ahead_s: how long a trial may train on between two answers, seconds, while the rule has nothing to
            decide; its epochs are then reported together. 0: each by itself. Only for trainables whose
            `train_buffered` takes epochs and seconds and marks results (`TorchTrainable` is one).
        lanes: runs the trials, several to a process; None: a process each.
        lost_for_good: of a trial that has just lost its worker: why it is not to be run again as it
            is; "" if it is.
    """

    listener: Listener = field(default_factory=Listener)
    find_checkpoint: Callable[[str, int], str | None] | None = None
    more_trials: Callable[[], bool] | None = None
    halting: Callable[[], bool] = never
    objection: Callable[[Mapping[str, Any]], str] = no_objection
    lost_for_good: Callable[[str], str] = never_for_good
    slots_now: Callable[[], int | None] = unchanged
    repeats: bool = False
    ahead_s: float = 0.0
    lanes: LaneManager | None = None

    def __reduce__(self) -> tuple[type[AdapterHooks], tuple[()]]:
        """Unconnected."""
        return AdapterHooks, ()

    def connect(self, given: Mapping[str, Any]) -> None:
        """Take what is given; what is not stays.

        Raises:
            TypeError: for a name that is none of the attributes.
        """
        for name, value in given.items():
            if name not in vars(self):
                raise TypeError(
                    f"there is nothing called {name!r} to connect; there are {', '.join(vars(self))}"
                )
            if value is not None:
                setattr(self, name, value)
