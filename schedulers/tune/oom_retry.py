"""Second runs, with more resources, of trials that ran out of memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


def no_extra_resources(trial_id: str) -> Mapping[str, float] | None:
    """None: no trial gets more resources."""
    return None


def never() -> bool:
    """False: the default of what a service may watch for."""
    return False


@dataclass
class OOMRetries:
    """The trials that wait for a second run.

    They wait until nothing else runs: then no other trial uses the memory that was short, a larger share
    is free, and no other trial is kept from its slot meanwhile.

    Attributes:
        share: trial -> Ray resources of its second run; None if it may not have one.
        starved: whether the kernel has killed a process for lack of memory since the last call.
        waiting: trial that has not begun its second run -> its resources.
        begun: trials that have begun it.
    """

    share: Callable[[str], Mapping[str, float] | None] = no_extra_resources
    starved: Callable[[], bool] = never
    waiting: dict[str, Mapping[str, float]] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)

    def __reduce__(self) -> tuple[type[OOMRetries], tuple[()]]:
        """Pickle as a new one: Tuner pickles a scheduler, and the callables hold open files and threads."""
        return OOMRetries, ()

    def grant(self, trial_id: str) -> Mapping[str, float] | None:
        """Queue a trial for its second run, and return its resources; None if it may not have one."""
        share = None if trial_id in self.begun or trial_id in self.waiting else self.share(trial_id)
        if share is not None:
            self.waiting[trial_id] = share
        return share

    def begin(self, trial_id: str) -> None:
        """Start a trial's second run."""
        del self.waiting[trial_id]
        self.begun.add(trial_id)
