"""The conditions on which a study ends before all its trials were tried."""

from __future__ import annotations

from pydantic import Field

from trainables.run_config import Section


class NoImprovement(Section):
    """The study ends after a number of trials without an improvement of the best.

    Attributes:
        trials: number of trials since the last improvement.
        min_delta: an improvement is by more than this.
    """

    trials: int = Field(ge=1)
    min_delta: float = Field(0.0, ge=0, allow_inf_nan=False)


class StudyStop(Section):
    """When the study as a whole ends before all its trials were tried: on the first of the given conditions.

    Attributes:
        no_improvement: the best no longer improves.
        target: a completed trial's metric is at least as good as this.
    """

    no_improvement: NoImprovement | None = None
    target: float | None = Field(None, allow_inf_nan=False)
