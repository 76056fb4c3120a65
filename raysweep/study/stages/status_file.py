"""`status.json` of a staged study: those of its stages combined, in the same form."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from raysweep.config import Sweep
from raysweep.study.journal.events import Event
from raysweep.study.journal.status_fields import BestFields, StageFields, StudyStatus
from raysweep.study.journal.status_file import VERSION, read_status
from raysweep.study.results.seed_race import BASELINE
from raysweep.study.stages.state import StageState, number_of, stage_states
from raysweep.study.storage.files import write_json
from raysweep.study.storage.layout import StudyFolder
from schedulers.reason import ReasonCode
from schedulers.trial_id import trial_id

WAITING = "waiting"


@dataclass
class StagesStatusFile:
    """A subscriber of the running stage, which keeps the whole study's file up to date.

    Args:
        study: the staged study.
        sweep: the staged sweep.
        every_s: least time between writes, seconds.
    """

    study: StudyFolder
    sweep: Sweep
    every_s: float = 1.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    _written: float = -1e9

    def __call__(self, event: Event) -> None:
        """Write the file if it is time to."""
        if self.clock() - self._written >= self.every_s:
            self.write("running")

    def write(
        self, state: str, exit_code: int | None = None, reason: str = "", code: ReasonCode | None = None
    ) -> None:
        """Replace the file; write errors are ignored."""
        fields = {"state": state, "pid": os.getpid(), "as_of": time.time()}
        fields |= {"exit_code": exit_code, "reason": reason, "code": code}
        with suppress(OSError):
            write_json(self.study.status_file, "status", summary(self.study, self.sweep) | fields)
        self._written = self.clock()


def summary(study: StudyFolder, sweep: Sweep) -> StudyStatus:
    """The combined status of the stages.

    Raises:
        NotAStudy: if a stage cannot be read.
    """
    states = stage_states(study)
    stages = [_stage_fields(state, sweep) for state in states]
    trials: Counter[str] = Counter()
    for stage in stages:
        trials.update(stage["trials"])
    begun = [stage["begun_at"] for stage in stages if stage["begun_at"] is not None]
    current = next((stage for stage in stages if stage["state"] != "done"), stages[-1])
    status: StudyStatus = {
        "version": VERSION,
        "study": study.name,
        "begun_at": min(begun, default=None),
        "attempts": max(stage["attempts"] for stage in stages),
        "revision": 0,
        "slots": max(stage["slots"] for stage in stages),
        "stage": current["name"],
        "stages": stages,
        "trials": {"wanted": 0, "asked": 0, **trials},
        "epochs": sum(stage["epochs"] for stage in stages),
        "metric": sweep.metric,
        "best": _best(states, stages),
        "failures": [
            {**failure, "stage": stage["name"]} for stage in stages for failure in stage["failures"]
        ],
    }
    if fronts := [stage["front"] for stage in stages if stage["front"]]:
        status["front"] = fronts[-1]
    return status


def _stage_fields(state: StageState, sweep: Sweep) -> StageFields:
    own = read_status(state.folder.path) if state.trains else {}
    return {
        "name": state.stage.name,
        "kind": state.stage.kind,
        "state": "done" if state.over else own.get("state", WAITING),
        "reason": (state.facts.get("ended") or {}).get("reason", own.get("reason", "")),
        "begun_at": state.facts.get("begun_at"),
        "attempts": own.get("attempts", 0),
        "slots": own.get("slots", 0),
        "trials": own.get("trials") or {"wanted": _expected_trials(state, sweep)},
        "epochs": own.get("epochs", 0),
        "best": _validated(state) or own.get("best"),
        "front": own.get("front", []),
        "failures": own.get("failures", []),
        "made_of": list(state.facts.get("lines", [])),
    }


def _validated(state: StageState) -> BestFields | None:
    """The winner of an ended validation: a trial of the search before it, or the run as it was."""
    if not state.over or not state.standings:
        return None
    first = state.standings[0]
    number = number_of(first["name"])
    return {
        "trial": BASELINE if number is None else trial_id(number),
        "value": first["mean"],
        "epoch": state.folder.stored_sweep().run.epochs,
        "status": "validated",
        "config": first["config"],
        "std": first["std"],
        "seeds": len(first["seeds"]),
    }


def _expected_trials(state: StageState, sweep: Sweep) -> int:
    """The number of trials of a stage that has not begun."""
    if state.stage.kind == "lr_range":
        return 0
    if state.stage.kind == "validate":
        return state.stage.trainings
    return state.stage.trials or sweep.trials


def _best(states: Sequence[StageState], stages: Sequence[StageFields]) -> BestFields | None:
    """The winner of the validation, or the best of the last search that has one."""
    if winner := _validated(states[-1]):
        return {**winner, "stage": states[-1].stage.name}
    for state, fields in zip(reversed(states), reversed(stages), strict=True):
        if state.stage.searches and fields["best"]:
            best: BestFields = fields["best"].copy()
            best["config"] = {**state.facts.get("fixed", {}), **best["config"]}
            best["stage"] = state.stage.name
            return best
    return None
