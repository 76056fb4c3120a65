"""`status.json` of a staged study: what its stages' own say, in one file of the same form."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from raysweep.config import Sweep
from raysweep.study.journal.events import Event
from raysweep.study.journal.status_fields import BestFields, FailureFields, StageFields, StudyStatus
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
    """A subscriber of the stage that runs, which keeps the whole study's file true.

    Args:
        study: the whole.
        sweep: the whole, as asked for.
        every_s: at most so often.
    """

    study: StudyFolder
    sweep: Sweep
    every_s: float = 1.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    _written: float = -1e9

    def __call__(self, event: Event) -> None:
        """Take one event in."""
        if self.clock() - self._written >= self.every_s:
            self.write("running")

    def write(
        self, state: str, exit_code: int | None = None, reason: str = "", code: ReasonCode | None = None
    ) -> None:
        """Replace the file; a disk that refuses is passed over."""
        said = {"state": state, "pid": os.getpid(), "as_of": time.time()}
        said |= {"exit_code": exit_code, "reason": reason, "code": code}
        with suppress(OSError):
            words = summary(self.study, self.sweep) | said
            write_json(self.study.status_file, "status", words)
        self._written = self.clock()


def summary(study: StudyFolder, sweep: Sweep) -> StudyStatus:
    """What the stages have come to together.

    Raises:
        NotAStudy: if one cannot be read.
    """
    parts = stage_states(study)
    seen = [_stage(part, sweep) for part in parts]
    trials: Counter[str] = Counter()
    for one in seen:
        trials.update(one["trials"])
    begun = [one["begun_at"] for one in seen if one["begun_at"] is not None]
    now = next((one for one in seen if one["state"] != "done"), seen[-1])
    status: StudyStatus = {
        "version": VERSION,
        "study": study.name,
        "begun_at": min(begun, default=None),
        "attempts": max(one["attempts"] for one in seen),
        "revision": 0,
        "slots": max(one["slots"] for one in seen),
        "stage": now["name"],
        "stages": seen,
        "trials": {"wanted": 0, "asked": 0, **trials},
        "epochs": sum(one["epochs"] for one in seen),
        "metric": sweep.metric,
        "best": _best(parts, seen),
        "failures": [_in_stage(failure, one["name"]) for one in seen for failure in one["failures"]],
    }
    if fronts := [one["front"] for one in seen if one["front"]]:
        status["front"] = fronts[-1]
    return status


def _in_stage(failure: FailureFields, stage: str) -> FailureFields:
    return {**failure, "stage": stage}


def _stage(part: StageState, sweep: Sweep) -> StageFields:
    """What is to be said of one stage."""
    own = read_status(part.folder.path) if part.trains else {}
    state = "done" if part.over else own.get("state", WAITING)
    return {
        "name": part.stage.name,
        "kind": part.stage.kind,
        "state": state,
        "reason": (part.facts.get("ended") or {}).get("reason", own.get("reason", "")),
        "begun_at": part.facts.get("begun_at"),
        "attempts": own.get("attempts", 0),
        "slots": own.get("slots", 0),
        "trials": own.get("trials") or {"wanted": _expected(part, sweep)},
        "epochs": own.get("epochs", 0),
        "best": _validated(part) or own.get("best"),
        "front": own.get("front", []),
        "failures": own.get("failures", []),
        "made_of": list(part.facts.get("lines", [])),
    }


def _validated(part: StageState) -> BestFields | None:
    """The winner of a validation that is over: a trial of the search before it, or the run as it was."""
    if not part.over or not part.standings:
        return None
    first = part.standings[0]
    number = number_of(first["name"])
    return {
        "trial": BASELINE if number is None else trial_id(number),
        "value": first["mean"],
        "epoch": part.folder.wanted().run.epochs,
        "status": "validated",
        "config": first["config"],
        "std": first["std"],
        "seeds": len(first["seeds"]),
    }


def _expected(part: StageState, sweep: Sweep) -> int:
    """How many trials a stage will have that has not begun: of a validation, with the run as it was."""
    if part.stage.kind == "lr_range":
        return 0
    if part.stage.kind == "validate":
        return part.stage.trainings
    return part.stage.trials or sweep.trials


def _best(parts: Sequence[StageState], seen: Sequence[StageFields]) -> BestFields | None:
    """The incumbent: of the last search that has one, or the winner of the validation."""
    if won := _validated(parts[-1]):
        return {**won, "stage": parts[-1].stage.name}
    for part, one in zip(reversed(parts), reversed(seen), strict=True):
        if part.stage.searches and one["best"]:
            best: BestFields = one["best"].copy()
            best["config"] = {**part.facts.get("fixed", {}), **best["config"]}
            best["stage"] = part.stage.name
            return best
    return None
