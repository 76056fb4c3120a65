"""Seed noise: how far two trainings of one configuration differ, from the best source a study has."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from raysweep.config.sweep import SEED_KEY
from raysweep.report.subject import Subject
from raysweep.study.results.finalize import VERSION as RETRAINED_VERSION
from raysweep.study.storage.files import Unreadable, read_json

RETRAINED = Path("retrain") / "retrain.json"
TOP, TAIL = 5, 5  # trials whose last epochs are used, and how many of those
SHORT = 4  # epochs, below which a tail has no usable spread


@dataclass(frozen=True, slots=True)
class Noise:
    """How far results of one configuration spread.

    Attributes:
        std: standard deviation of a result, in the metric's unit.
        source: where it comes from, in words.
        sure: whether it was measured between seeds; the last epochs of one training are only a hint.
    """

    std: float
    source: str
    sure: bool


def noise_of(subject: Subject) -> Noise | None:
    """The retraining's seeds, else replicates in the study, else the top trials' last epochs; or None."""
    return _of_retraining(subject) or _of_replicates(subject) or _of_last_epochs(subject)


def retraining_of(subject: Subject) -> dict[str, Any] | None:
    """The content of `retrain.json`; None if the study was not retrained, or the file cannot be read."""
    if subject.folder is None:
        return None
    try:
        return read_json(subject.folder / RETRAINED, version=RETRAINED_VERSION, kind="retraining")
    except (FileNotFoundError, Unreadable):
        return None


def _of_retraining(subject: Subject) -> Noise | None:
    """From `retrain.json`, which lists every candidate's value by seed."""
    result = retraining_of(subject)
    if result is None:
        return None
    groups = [[value for value in one["seeds"].values() if value is not None] for one in result["standings"]]
    std = pooled(groups)
    count = sum(len(group) for group in groups if len(group) > 1)
    return None if std is None else Noise(std, f"between the seeds of {count} trainings in retrain/", True)


def _of_replicates(subject: Subject) -> Noise | None:
    """From completed trials that differ only in their seed."""
    groups: dict[str, dict[Any, float]] = defaultdict(dict)  # by seed: equal seeds give equal curves
    for trial in subject.ranked():
        loss = subject.loss(trial)
        if trial.outcome == "completed" and loss is not None:
            settings = json.dumps(subject.config(trial), sort_keys=True, default=str)
            groups[settings][trial.config.get(SEED_KEY)] = loss
    std = pooled([list(group.values()) for group in groups.values()])
    count = sum(len(group) for group in groups.values() if len(group) > 1)
    return Noise(std, f"between {count} trials of equal configuration", True) if std else None


def _of_last_epochs(subject: Subject) -> Noise | None:
    """From the top trials' last epochs: the median of their spreads around a fitted line.

    Only a hint: it lacks the seed's effect on the start, so it is too small rather than too large.
    """
    spreads = []
    for trial in subject.ranked()[:TOP]:
        tail = [point.loss for point in trial.curve[-TAIL:] if math.isfinite(point.loss)]
        if len(tail) >= SHORT:
            at = np.arange(len(tail), dtype=float)
            off = np.array(tail) - np.polyval(np.polyfit(at, np.array(tail), 1), at)
            spreads.append(math.sqrt(float(off @ off) / (len(tail) - 2)))
    if len(spreads) < 2:
        return None
    return Noise(
        median(spreads), f"spread of the top {len(spreads)} trials' last epochs, without other seeds", False
    )


def pooled(groups: Sequence[Sequence[float]]) -> float | None:
    """The pooled standard deviation within groups; None if no group has two values.

    >>> pooled([[1.0, 3.0], [10.0, 12.0], [7.0]])
    1.4142135623730951
    """
    several = [np.array(group) for group in groups if len(group) > 1]
    if not several:
        return None
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in several)
    return math.sqrt(squares / sum(len(group) - 1 for group in several))
