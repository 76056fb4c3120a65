"""`best.yaml`: the best trial as a run config that `launch.py run` takes as it is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from service.spec import Sweep
from service.study.record import StudyRecord, TrialRecord
from trainables.run import overlay


def write_best(
    path: Path, sweep: Sweep, record: StudyRecord, provenance: dict[str, Any]
) -> TrialRecord | None:
    """Write the incumbent's run config, or nothing while no trial has reported.

    A population's winner was not trained under one configuration: the comment says so, and
    `best_schedule.yaml` beside it holds the winning schedule of configurations.
    """
    best = record.best()
    if best is None:
        return None
    schedule = record.schedule(best.trial)
    run = overlay(sweep.run.model_dump(mode="json"), best.config)
    text = _header(sweep, record, best, provenance) + yaml.safe_dump(run, sort_keys=False, allow_unicode=True)
    _replace(path, text)
    schedule_path = path.with_name("best_schedule.yaml")
    if len(schedule) > 1:
        _replace(schedule_path, _schedule_text(best, schedule))
    else:
        schedule_path.unlink(missing_ok=True)
    return best


def _header(sweep: Sweep, record: StudyRecord, best: TrialRecord, provenance: dict[str, Any]) -> str:
    worth = best.worth(record.objective)
    value = math.nan if worth is None else sweep.sign * worth
    lines = [
        f"best of study {sweep.study_name}: trial {best.number}, {best.status} after {best.epoch} epochs",
        f"{sweep.metric} = {value:.6g} ({sweep.objective} epoch counts)",
        *(f"{key} = {_short(value)} (searched)" for key, value in best.config.items()),
        *(f"{key}: {value}" for key, value in provenance.items() if isinstance(value, str | int | float)),
    ]
    if best.lineage:
        lines.append("its weights were trained under a schedule of configurations: best_schedule.yaml")
        lines.append("what stands below is the last of them")
    return "".join(f"# {line}\n" for line in lines)


def _schedule_text(best: TrialRecord, schedule: list[tuple[int, dict[str, Any]]]) -> str:
    steps = [{"after_epoch": epoch, "config": config} for epoch, config in schedule]
    lineage = [{"epoch": step.epoch, "donor": step.donor, "reason": step.reason} for step in best.lineage]
    return yaml.safe_dump({"trial": best.trial, "schedule": steps, "lineage": lineage}, sort_keys=False)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
