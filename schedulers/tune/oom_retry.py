"""Trials that ran out of memory and are run once more, with more of the machine to themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


def no_extra_resources(trial_id: str) -> Mapping[str, float] | None:
    """No trial is given more than it had."""
    return None


def never() -> bool:
    """Nothing is known of the kernel's doings."""
    return False


@dataclass
class OOMRetries:
    """Who waits to be run again; whoever runs the trials asks.

    They wait until nothing else runs: then nobody else holds the memory that was short, a larger share
    is free, and no small trial is kept from its slot meanwhile.

    Attributes:
        share: trial -> what it gets in its second run, in Ray's words; None if it may not have one.
        starved: whether the kernel ended a process for want of memory since this was last asked.
        waiting: trials that have not begun their second run.
        begun: trials that have.
    """

    share: Callable[[str], Mapping[str, float] | None] = no_extra_resources
    starved: Callable[[], bool] = never
    waiting: dict[str, Mapping[str, float]] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)

    def __reduce__(self) -> tuple[type[OOMRetries], tuple[()]]:
        """As new: Tuner pickles a scheduler, and whoever is asked here holds open files and threads."""
        return OOMRetries, ()

    def grant(self, trial_id: str) -> Mapping[str, float] | None:
        """Line a trial up for its second run; None if there is none for it."""
        share = None if trial_id in self.begun or trial_id in self.waiting else self.share(trial_id)
        if share is not None:
            self.waiting[trial_id] = share
        return share

    def begin(self, trial_id: str) -> None:
        """Let it start its second run."""
        del self.waiting[trial_id]
        self.begun.add(trial_id)
