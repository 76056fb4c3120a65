"""The time budget of a staged sweep: each stage may use what the stages before it left."""

from __future__ import annotations

import math
from dataclasses import dataclass

from raysweep.config import Sweep
from schedulers.reason import ReasonCode

LEAST_S = 1e-3
"""Time of a stage that begins when the budget is used up: its driver then ends it at once, properly."""


@dataclass(frozen=True, slots=True)
class StagesTimeBudget:
    """The time budget of one attempt at a staged sweep.

    Attributes:
        deadline: unix seconds; infinite without a budget.
    """

    deadline: float = math.inf

    @classmethod
    def of(cls, sweep: Sweep, now: float) -> StagesTimeBudget:
        """The budget of an attempt that begins now; each attempt has the whole time, as for any sweep."""
        return cls() if sweep.time_budget_s is None else cls(now + sweep.time_budget_s)

    def is_up(self, now: float) -> bool:
        """Whether no time is left."""
        return now >= self.deadline

    def share(self, stage: Sweep, now: float) -> Sweep:
        """A stage's sweep, its own time budget limited to what is left of the whole one."""
        left = max(self.deadline - now, LEAST_S)
        own = math.inf if stage.time_budget_s is None else stage.time_budget_s
        return stage if own <= left else stage.model_copy(update={"time_budget_s": left})

    def cut_short(self, code: ReasonCode, now: float) -> bool:
        """Whether a stage ended because the whole budget is used up, so that a later attempt continues it."""
        return code is ReasonCode.TIME_BUDGET and self.is_up(now)
