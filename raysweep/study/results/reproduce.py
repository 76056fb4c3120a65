"""One trial run again from its record alone: is its curve the same to the last bit, and if not, why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysweep.config import Sweep
from raysweep.config.trial_config import trial_config
from raysweep.study.journal.records import CurvePoint, StudyRecord
from raysweep.study.results.best_config import NoWinner, changes

MEASURED = frozenset({"epoch_s", "peak_memory_mb", "gpu_utilisation", "latency_ms"})
"""Numbers of a result that no two runs share."""
COMPARED = ("host", "gpus", "python", "git_commit", "git_dirty", "data_fingerprint")


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two curves part.

    Attributes:
        epoch: the first that differs.
        metric: the first of its numbers that does.
        then: as recorded.
        now: as run again.
    """

    epoch: int
    metric: str
    then: float
    now: float


def trial_words(sweep: Sweep, record: StudyRecord, trial: str) -> dict[str, Any]:
    """What the trainable gets to run a trial again from its first epoch.

    Weights that were copied are trained anew under the schedule of settings that they were trained
    under: every trial of a sweep begins with the same seed.
    """
    schedule = record.schedule(trial)
    if len(schedule) == 1:
        return trial_config(sweep, record.trials[trial].config, trial)
    return trial_config(sweep, schedule[0][1], trial, schedule=changes(schedule))


def curve_of_weights(record: StudyRecord, trial: str) -> list[CurvePoint]:
    """The epochs that a trial's weights have behind them: a copied trial's first ones are its donor's.

    Raises:
        NoWinner: if it has none.
    """
    if not record.trials[trial].curve:
        raise NoWinner(f"trial {int(trial)} has reported no epoch: there is nothing to compare")
    points: list[CurvePoint] = []
    name, until = trial, math.inf
    while True:
        found = record.trials[name]
        copied = [step for step in found.lineage if step.epoch < until]
        start = copied[-1].epoch if copied else 0
        own = [p for p in found.curve if p.generation == len(copied) and start < p.epoch <= until]
        points = own + points
        if not copied:
            return points
        name, until = copied[-1].donor, copied[-1].epoch


def run_again(words: Mapping[str, Any], epochs: int, gpu_share: float) -> Iterator[dict[str, Any]]:
    """Train in this process, as a trial's own process does; the results, one per epoch.

    Args:
        words: see `trial_words`.
        epochs: as many as the trial had.
        gpu_share: as it had; 0 for the CPU.
    """
    from trainables.trial import Trial

    trial = Trial()
    trial.begin(words, gpu_share)
    for _ in range(epochs):
        result = trial.step()
        yield result
        if result.get("outcome"):
            break
    trial.close()


def first_difference(points: Sequence[CurvePoint], results: Sequence[Mapping[str, Any]]) -> Difference | None:
    """Where two curves part, to the last bit; None if they are equal.

    A curve that ends early parts from the other at its first missing epoch. What only the record has
    (a trial scheduler's predictions) is not the trial's.
    """
    for index, point in enumerate(points):
        result = results[index] if index < len(results) else dict.fromkeys(point.metrics, math.nan)
        for metric, then in point.metrics.items():
            now = float(result.get(metric, then))
            if metric not in MEASURED and now != then and not (math.isnan(now) and math.isnan(then)):
                return Difference(point.epoch, metric, then, now)
    return None


def causes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of code, versions, device and data is not as it was; in words."""
    found = [
        f"{key}: {then[key]} then, {now.get(key)} now"
        for key in COMPARED
        if key in then and then[key] != now.get(key)
    ]
    old, new = then.get("versions") or {}, now.get("versions") or {}
    found += [
        f"{name}: {old.get(name, 'none')} then, {new.get(name, 'none')} now"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if then.get("git_dirty") and now.get("git_dirty"):
        found.append("the code had changes that are in no commit, then and now")
    return found
