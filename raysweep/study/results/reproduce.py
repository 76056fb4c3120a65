"""Running one trial again from its record, to see whether its curve is the same to the last bit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysweep.config import Sweep
from raysweep.config.trial_config import trial_config
from raysweep.study.journal.records import CurvePoint, StudyRecord
from raysweep.study.results.best_config import NoWinner, schedule_changes

MEASURED = frozenset({"epoch_s", "peak_memory_mb", "gpu_utilisation", "latency_ms"})
"""Metrics of time and memory, which differ from run to run."""
COMPARED = ("host", "gpus", "python", "git_commit", "git_dirty", "data_fingerprint")


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference of two curves.

    Attributes:
        epoch: the first epoch that differs.
        metric: the first metric of it that differs.
        then: its recorded value.
        now: its value in the new run.
    """

    epoch: int
    metric: str
    then: float
    now: float


def reproduction_config(sweep: Sweep, record: StudyRecord, trial: str) -> dict[str, Any]:
    """The config with which the trainable runs a trial again from its first epoch.

    Copied weights are trained again with the same schedule of settings, which works because all trials of a
    sweep start from the same seed.
    """
    schedule = record.schedule(trial)
    if len(schedule) == 1:
        return trial_config(sweep, record.trials[trial].config, trial)
    return trial_config(sweep, schedule[0][1], trial, schedule=schedule_changes(schedule))


def curve_of_weights(record: StudyRecord, trial: str) -> list[CurvePoint]:
    """The epochs in which a trial's weights were trained: the first ones of a copied trial are its donor's.

    Raises:
        NoWinner: if it has reported no epoch.
    """
    if not record.trials[trial].curve:
        raise NoWinner(f"trial {int(trial)} has reported no epoch: there is nothing to compare")
    points: list[CurvePoint] = []
    until = math.inf
    for ancestor, exploits in record.ancestry(trial):
        start = exploits[-1].epoch if exploits else 0
        own = [p for p in ancestor.curve if p.generation == len(exploits) and start < p.epoch <= until]
        points, until = own + points, start
    return points


def run_again(config: Mapping[str, Any], epochs: int, gpu_share: float) -> Iterator[dict[str, Any]]:
    """Train in this process as a trial's own process does; yields the result of each epoch.

    Args:
        config: see `reproduction_config`.
        epochs: that the trial had.
        gpu_share: that the trial had; 0 for the CPU.
    """
    from trainables.trial import Trial

    trial = Trial()
    trial.begin(config, gpu_share)
    for _ in range(epochs):
        result = trial.step()
        yield result
        if result.get("outcome"):
            break
    trial.close()


def first_difference(points: Sequence[CurvePoint], results: Sequence[Mapping[str, Any]]) -> Difference | None:
    """The first difference of two curves; None if they are equal to the last bit.

    An epoch that is missing is a difference. Metrics that only the record has (a trial scheduler's
    predictions) are not compared.
    """
    for index, point in enumerate(points):
        result = results[index] if index < len(results) else dict.fromkeys(point.metrics, math.nan)
        for metric, then in point.metrics.items():
            now = float(result.get(metric, then))
            if metric not in MEASURED and now != then and not (math.isnan(now) and math.isnan(then)):
                return Difference(point.epoch, metric, then, now)
    return None


def possible_causes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What has changed of code, versions, device and data, one line each.

    Args:
        then: provenance of the study.
        now: provenance of this process.
    """
    changes = [
        f"{key}: {then[key]} then, {now.get(key)} now"
        for key in COMPARED
        if key in then and then[key] != now.get(key)
    ]
    old, new = then.get("versions") or {}, now.get("versions") or {}
    changes += [
        f"{name}: {old.get(name, 'none')} then, {new.get(name, 'none')} now"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if then.get("git_dirty") and now.get("git_dirty"):
        changes.append("the code has uncommitted changes, then and now")
    return changes
