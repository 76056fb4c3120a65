"""The run over the runs of a staged sweep's stages. Each stage's tracker finds or creates it.

Every update holds all that is known, so that a later stage or `launch.py sync` may send it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raysweep.tracking.projection import PARENT, Point, RunUpdate, ms
from raysweep.tracking.runs import MAX_TAG, ParentRun, clip, entity_key, param_text
from raysweep.tracking.store import Store

KIND = "staged"


@dataclass(frozen=True, slots=True)
class FinalState:
    """What the parent run shows once a stage has ended.

    Attributes:
        t: when, unix seconds.
        tags: what is known of the stages now.
        best: metric and value of the incumbent after each stage, by the stage's place from 0.
    """

    t: float
    tags: Mapping[str, str] = field(default_factory=dict)
    best: Sequence[tuple[str, float, int]] = ()


def open_parent_run(store: Store, experiment_id: str, parent: ParentRun | None) -> str:
    """The parent's run id, its run made if there is none yet, and open; "" for a sweep without stages.

    Raises:
        Unreachable: if the store is away.
        Refused: if it does not take it.
    """
    if parent is None:
        return ""
    run_id = store.find(experiment_id, parent.study_id).get(PARENT, "")
    is_new = not run_id
    change = _change(parent, parent.tags)
    change.status = "RUNNING"
    if is_new:
        change.params = {entity_key(key): param_text(value) for key, value in parent.settings.items()}
        change.texts = {"sweep.yaml": parent.sweep_yaml}
        identity = {"kind": KIND, "study": parent.study, "study_id": parent.study_id}
        run_id = store.create(experiment_id, change, identity, "")
    store.write(run_id, change, is_new=is_new)
    return run_id


def close_parent_run(parent: ParentRun, final_state: FinalState) -> RunUpdate:
    """The update of the parent run when a stage ends: no run stays open while nothing runs."""
    change = _change(parent, final_state.tags)
    change.metrics = [_point(final_state.t, *each) for each in final_state.best]
    change.status, change.at_ms = "FINISHED", ms(final_state.t)
    return change


def _change(parent: ParentRun, tags: Mapping[str, Any]) -> RunUpdate:
    texts = {entity_key(key): clip(str(value), MAX_TAG) for key, value in tags.items()}
    return RunUpdate(PARENT, parent.study, ms(parent.born), tags=texts)


def _point(t: float, metric: str, value: float, place: int) -> Point:
    return entity_key(f"best_{metric}"), value, ms(t), place
