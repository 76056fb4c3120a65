"""The parent run of a staged sweep, above the runs of its stages. Each stage's tracker finds or creates it.

Every update is complete, so that a later stage or `launch.py sync` may send it again.
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
    """The state of the parent run after a stage's end.

    Attributes:
        t: unix seconds.
        tags: on the stages so far.
        best: (metric, value, stage's number from 0) of the best trial after each stage.
    """

    t: float
    tags: Mapping[str, str] = field(default_factory=dict)
    best: Sequence[tuple[str, float, int]] = ()


def open_parent_run(store: Store, experiment_id: str, parent: ParentRun | None) -> str:
    """Find or create the parent run, and set it to running; returns its id, "" for a sweep without stages.

    Raises:
        Unreachable: if the store does not answer.
        Refused: if the store does not accept it.
    """
    if parent is None:
        return ""
    run_id = store.find(experiment_id, parent.study_id).get(PARENT, "")
    is_new = not run_id
    update = _update(parent, parent.tags)
    update.status = "RUNNING"
    if is_new:
        update.params = {entity_key(key): param_text(value) for key, value in parent.settings.items()}
        update.texts = {"sweep.yaml": parent.sweep_yaml}
        identity = {"kind": KIND, "study": parent.study, "study_id": parent.study_id}
        run_id = store.create(experiment_id, update, identity, "")
    store.write(run_id, update, is_new=is_new)
    return run_id


def close_parent_run(parent: ParentRun, final_state: FinalState) -> RunUpdate:
    """The update of the parent run at a stage's end, which also ends it, since nothing runs then."""
    update = _update(parent, final_state.tags)
    update.metrics = [_point(final_state.t, *each) for each in final_state.best]
    update.status, update.at_ms = "FINISHED", ms(final_state.t)
    return update


def _update(parent: ParentRun, tags: Mapping[str, Any]) -> RunUpdate:
    texts = {entity_key(key): clip(str(value), MAX_TAG) for key, value in tags.items()}
    return RunUpdate(PARENT, parent.study, ms(parent.born), tags=texts)


def _point(t: float, metric: str, value: float, stage: int) -> Point:
    return entity_key(f"best_{metric}"), value, ms(t), stage
