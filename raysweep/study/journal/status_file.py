"""`status.json`: the state of a study in one small file that any program can read at any time.

It is computed from the journal and replaced atomically. A killed driver leaves `"state": "running"` behind;
`read_status` then sees that the lock is free, and says `interrupted`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from raysweep.config.sweep import Metric
from raysweep.errors import ExitCode
from raysweep.study.journal.events import AttemptEnded, EpochReported, Event
from raysweep.study.journal.failures import common_failures
from raysweep.study.journal.log import read_events
from raysweep.study.journal.pareto import pareto_front, scored_point
from raysweep.study.journal.records import StudyRecord, TrialRecord, fold
from raysweep.study.journal.status_fields import BestFields, FrontFields, StudyStatus
from raysweep.study.storage.files import Unreadable, read_json, write_json
from raysweep.study.storage.layout import NotAStudy, StudyFolder
from raysweep.study.storage.locations import is_held_elsewhere
from raysweep.study.storage.lock import is_held

VERSION = 1
RENEW = "delete it: `launch.py resume` writes a new one"
REST_FACTOR = 20  # the next write comes no sooner than this many times as long as the last one took


@dataclass
class StatusFile:
    """A subscriber that keeps `status.json` up to date.

    A change of a trial's state is written at once, unless writing would take more than a twentieth of the
    time (counting a thousand trials takes a millisecond); epochs are written every `every_s` seconds at most.

    Args:
        record: the study's record, which has each event before this subscriber gets it.
        sign: +1 if the metric is minimised, -1 if maximised.
        metrics: all metrics of the study; if there are several, the Pareto front is written.
    """

    folder: StudyFolder
    record: StudyRecord
    metric: str
    sign: int
    metrics: Sequence[Metric] = ()
    every_s: float = 1.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    _written: float = -1e9
    _took: float = 0.0

    def __call__(self, event: Event) -> None:
        """Write the file if it is time to."""
        rest = self.every_s if isinstance(event, EpochReported) else REST_FACTOR * self._took
        if not isinstance(event, AttemptEnded) and self.clock() - self._written < rest:
            return
        self.write("running" if not isinstance(event, AttemptEnded) else state_of(event.exit_code))

    def write(self, state: str) -> None:
        """Replace the file; write errors are ignored, since the journal holds the truth."""
        begun = self.clock()
        with suppress(OSError):
            write_json(self.folder.status_file, "status", self.summary(state))
        self._written = self.clock()
        self._took = self._written - begun

    def summary(self, state: str) -> StudyStatus:
        """The fields of the file."""
        record, best = self.record, self.record.best()
        status: StudyStatus = {
            "version": VERSION,
            "study": self.folder.name,
            "state": state,
            "pid": os.getpid(),
            "as_of": time.time(),
            "begun_at": record.begun_at,
            "attempts": record.attempts,
            "revision": record.revision,
            "slots": record.slots,
            "lanes": record.lanes,
            "fused": sum(trial.lane_obstacle == "" for trial in record.trials.values()),
            "trials": {"wanted": record.wanted, "asked": len(record.trials), **record.counts()},
            "epochs": record.epochs,
            "metric": self.metric,
            "best": self._best(best) if best else None,
            "failures": common_failures(record.trials.values()),
            "exit_code": record.closed.exit_code if record.closed else None,
            "reason": record.closed.reason if record.closed else "",
            "code": record.closed.code if record.closed else None,
        }
        if len(self.metrics) > 1:
            status["front"] = self._front()
        return status

    def _front(self) -> list[FrontFields]:
        objective = self.record.objective
        return [
            {
                "trial": trial.trial,
                "values": {metric.name: point.metrics[metric.name] for metric in self.metrics},
                "config": trial.config,
            }
            for trial in pareto_front(self.record.trials.values(), self.metrics, objective)
            if (point := scored_point(trial, objective)) is not None
        ]

    def _best(self, best: TrialRecord) -> BestFields:
        objective = self.record.objective
        return {
            "trial": best.trial,
            "value": best.objective_value(objective, self.sign),
            "epoch": best.objective_epoch(objective),
            "status": best.status,
            "config": best.config,
        }


def read_status(path: Path) -> StudyStatus:
    """Read `status.json` of the study at `path`; a study whose driver was killed is `interrupted`.

    If the file is missing or damaged, the status is computed from the journal.

    Raises:
        NotAStudy: if the folder holds no study, or the file is in another format, or it is damaged and the
            study has stages.
        JournalError: if the journal is read and damaged.
    """
    folder = StudyFolder.open(path)
    try:
        fields = read_json(folder.status_file, version=VERSION, kind="status", fix=RENEW)
        status = cast(StudyStatus, fields)
    except FileNotFoundError:
        status = _status_of_journal(folder)
    except Unreadable as error:
        if not error.damaged or folder.stored_sweep().stages:
            raise NotAStudy(str(error)) from None
        status = _status_of_journal(folder)
    if status["state"] == "running" and not is_held(folder.lock_file) and not is_held_elsewhere(folder):
        status["state"] = "interrupted"
        for stage in status.get("stages", ()):
            stage["state"] = "interrupted" if stage["state"] == "running" else stage["state"]
    return status


def _status_of_journal(folder: StudyFolder) -> StudyStatus:
    """The status computed from the journal; without details if the study has not begun, or has stages."""
    sweep = folder.stored_sweep()
    record = fold(() if sweep.stages else read_events(folder.journal_dir), sweep.objective)
    if record.attempts == 0:
        trials = {} if sweep.stages else {"wanted": sweep.trials}
        return {"version": VERSION, "study": folder.name, "state": "running", "trials": trials, "best": None}
    status = StatusFile(folder, record, sweep.metric, sweep.sign, sweep.metrics)
    return status.summary("running" if record.closed is None else state_of(record.closed.exit_code))


def state_of(exit_code: int) -> str:
    """The state of a study whose last attempt ended with this exit code."""
    states: dict[int, str] = {ExitCode.DONE: "done", ExitCode.INTERRUPTED: "interrupted"}
    return states.get(exit_code, "failed")
