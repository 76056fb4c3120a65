"""When a study ends before all its trials were tried."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class NoImprovement(BaseModel):
    """The study ends once so many trials in a row have not brought a better best.

    Attributes:
        trials: that many, since the best last got better.
        min_delta: by how much more than this the metric must get better to count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(ge=1)
    min_delta: float = Field(0.0, ge=0, allow_inf_nan=False)


class StudyStop(BaseModel):
    """When the study as a whole ends before all its trials; any of these that is given.

    Attributes:
        no_improvement: nothing better comes any more.
        target: a completed trial's metric is as good as this, or better.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    no_improvement: NoImprovement | None = None
    target: float | None = Field(None, allow_inf_nan=False)
