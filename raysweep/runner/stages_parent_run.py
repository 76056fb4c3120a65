"""The parent run of a staged sweep: what MLflow shows of it as a whole."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from raysweep.config import Sweep
from raysweep.study.stages.state import StageState, best_of_stages, stage_states
from raysweep.study.storage.layout import StudyFolder

if TYPE_CHECKING:
    from raysweep.tracking import FinalState, ParentRun


def parent_run_of(study: StudyFolder, sweep: Sweep, now: StageState) -> ParentRun:
    """The parent run when the stage `now` begins."""
    from raysweep.tracking import ParentRun

    parts = stage_states(study)
    born = min((part.facts["begun_at"] for part in parts if "begun_at" in part.facts), default=time.time())
    return ParentRun(
        study=study.name,
        study_id=hashlib.sha256(f"{study.name} {born!r}".encode()).hexdigest()[:16],
        born=born,
        settings={
            "stages": ", ".join(part.stage.name for part in parts),
            "metric": sweep.metric,
            "direction": sweep.direction,
            "seed": sweep.seed,
        },
        sweep_yaml=study.source_text(),
        tags=_tags(sweep, parts, now, "running"),
    )


def final_state_of(study: StudyFolder, sweep: Sweep, now: StageState) -> FinalState:
    """The parent run's tags and values when the stage `now` ends."""
    from raysweep.tracking import FinalState

    parts = stage_states(study)
    ended = {part.stage.name: part.over for part in parts}
    state = "finished" if all(ended.values()) else "running" if ended[now.stage.name] else "interrupted"
    values = []
    for index, part in enumerate(parts):
        best = best_of_stages(sweep, parts[: index + 1]) if part.over else None
        if best is not None and best.value is not None:
            values.append((sweep.metric, best.value, index))
    return FinalState(time.time(), _tags(sweep, parts, now, state), values)


def _tags(sweep: Sweep, parts: Sequence[StageState], now: StageState, state: str) -> dict[str, str]:
    """The current stage, the best so far, and for every stage how it ended and what it was made from."""
    tags = {"stage": now.stage.name, "state": state}
    for part in parts:
        if part.over:
            tags[f"stage.{part.stage.name}"] = str(part.facts["ended"]["reason"])
        if part.facts.get("lines"):
            tags[f"stage.{part.stage.name}.made_of"] = "\n".join(part.facts["lines"])
    best = best_of_stages(sweep, parts)
    if best is not None and best.value is not None:
        tags["incumbent"] = f"{best.where}: {sweep.metric} {best.value:.6g}"
    if best is not None and best.trial is not None:
        tags["incumbent.config"] = json.dumps(best.state.result().config(best.trial.config), default=str)
    return tags
