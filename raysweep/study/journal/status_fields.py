"""The fields of `status.json`, of a study and of a study with stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict


class BestFields(TypedDict, total=False):
    """The best trial: its id (or "baseline"), the metric's value, its epoch and its parameters.

    `std` and `seeds` are set for a validated configuration, `stage` in a study with stages.
    """

    trial: str
    value: float | None
    epoch: int
    status: str
    config: Mapping[str, Any]
    std: float | None
    seeds: int
    stage: str


class FrontFields(TypedDict):
    """A trial of the Pareto front: the value of each metric, and its parameters."""

    trial: str
    values: Mapping[str, float]
    config: Mapping[str, Any]


class FailureFields(TypedDict, total=False):
    """One kind of failure: how many trials had it, the first of them, and its stage."""

    outcome: str
    error: str
    trials: int
    first: str
    stage: str


class StageFields(TypedDict):
    """One stage of a study; `made_of` lists what it was derived from."""

    name: str
    kind: str
    state: str
    reason: str
    begun_at: float | None
    attempts: int
    slots: int
    trials: Mapping[str, int]
    epochs: int
    best: BestFields | None
    front: list[FrontFields]
    failures: list[FailureFields]
    made_of: list[str]


class StudyStatus(TypedDict, total=False):
    """The whole file. A study that has not begun has only the first five fields.

    `trials` has the number of trials by status, and `wanted` and `asked`. `lanes` is trials per process,
    `fused` the number of trials trained together with others. `stage` and `stages` are set for a study with
    stages, `front` for one with several metrics.
    """

    version: int
    study: str
    state: str
    trials: Mapping[str, int]
    best: BestFields | None
    pid: int
    as_of: float
    begun_at: float | None
    attempts: int
    revision: int
    slots: int
    lanes: int
    fused: int
    stage: str
    stages: list[StageFields]
    epochs: int
    metric: str
    front: list[FrontFields]
    failures: list[FailureFields]
    exit_code: int | None
    reason: str
    code: str | None
