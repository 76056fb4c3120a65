"""The fields of `retrain.json`, the result of a retraining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class CandidateFields(TypedDict):
    """A `CandidateResult` as JSON: None for NaN and infinity, seeds as strings."""

    name: str
    what: str
    config: Mapping[str, Any]
    seeds: Mapping[str, float | None]
    mean: float | None
    std: float | None
    low: float | None
    high: float | None
    p_best: float | None
    out: str
    sweep_value: float | None


class EvaluationFields(TypedDict):
    """Scores of the winner's nets on some rows: by seed and metric, and by metric for the ensemble."""

    members: Mapping[str, Mapping[str, float]]
    ensemble: Mapping[str, float]


class AccessFields(TypedDict):
    """An earlier access to the test rows: time (unix seconds), command, and what was scored."""

    t: float
    by: str
    why: str


class _RequiredFields(TypedDict):
    version: int
    study: str
    metric: str
    direction: str
    epochs: int
    epochs_run: int
    trainings: int
    provenance: Mapping[str, Any]
    standings: Sequence[CandidateFields]
    winner: str | None
    runner_up: str
    margin: float | None
    margin_error: float | None
    margin_p: float | None
    looks: int
    clear: bool
    tau: float | None
    model_seed: int
    val: EvaluationFields | None
    test: EvaluationFields | None
    opened_before: Sequence[AccessFields]
    model: str | None
    note: str


class RetrainFields(_RequiredFields, total=False):
    """The whole file; `meaning` (of the net's outputs) and `rows` (by split) are set only with a model.

    `ensemble` is the folder with the nets of all seeds; None if there is one seed.
    """

    ensemble: str | None
    meaning: Mapping[str, Any]
    rows: Mapping[str, int]
