"""The wall-clock time of a staged sweep, shared out among its stages: first come, first served."""

from __future__ import annotations

import math
from dataclasses import dataclass

from raysweep.config import Sweep
from schedulers.reason import ReasonCode

LEAST_S = 1e-3
"""What a stage is given that begins when the time is up: its driver ends it at once, in good order."""


@dataclass(frozen=True, slots=True)
class StagesTimeBudget:
    """When the time of the whole is up.

    Attributes:
        deadline: unix seconds; infinite without a budget.
    """

    deadline: float = math.inf

    @classmethod
    def of(cls, sweep: Sweep, now: float) -> StagesTimeBudget:
        """The budget of an attempt that begins now: each has the whole time, as for any sweep."""
        return cls() if sweep.time_budget_s is None else cls(now + sweep.time_budget_s)

    def is_up(self, now: float) -> bool:
        """Whether no time is left."""
        return now >= self.deadline

    def share(self, stage: Sweep, now: float) -> Sweep:
        """A stage's sweep with its own time, but no more than is left of the whole."""
        left = max(self.deadline - now, LEAST_S)
        own = math.inf if stage.time_budget_s is None else stage.time_budget_s
        return stage if own <= left else stage.model_copy(update={"time_budget_s": left})

    def cut_short(self, code: ReasonCode, now: float) -> bool:
        """Whether a stage ended for want of the whole's time: then it has more to do, another time."""
        return code is ReasonCode.TIME_BUDGET and self.is_up(now)
