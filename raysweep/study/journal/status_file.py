"""`status.json`: the study in one small file that any program can read at any time.

It is a fold of the journal, replaced whole (write, rename), so a reader never sees half of it. A
killed driver leaves `"state": "running"` behind with its pid; `read_status` looks at the lock and
says `interrupted` then.
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
from raysweep.study.journal.failures import commonest
from raysweep.study.journal.log import read_events
from raysweep.study.journal.pareto import counted, front
from raysweep.study.journal.records import StudyRecord, TrialRecord, fold
from raysweep.study.journal.status_fields import BestFields, FrontFields, StudyStatus
from raysweep.study.storage.files import Unreadable, read_json, write_json
from raysweep.study.storage.layout import NotAStudy, StudyFolder
from raysweep.study.storage.locations import held_elsewhere
from raysweep.study.storage.lock import is_held

VERSION = 1
RENEW = "delete it: `launch.py resume` makes it anew"
TIME_FOR_IT = 20  # so many times as long as writing took it then rests


@dataclass
class StatusFile:
    """A subscriber that keeps `status.json` true.

    Changes of a trial's state are written at once, as long as that takes no more than a twentieth of
    the time (a thousand trials are counted in a millisecond); epochs at most every `every_s` seconds.

    Args:
        record: the study's record, folded before this subscriber is called.
        sign: +1 if the metric is minimised, -1 if maximised: values are written as the user knows them.
        metrics: all that the study is judged by; of several the Pareto front is written.
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
        """Take one event in."""
        rest = self.every_s if isinstance(event, EpochReported) else TIME_FOR_IT * self._took
        if not isinstance(event, AttemptEnded) and self.clock() - self._written < rest:
            return
        self.write("running" if not isinstance(event, AttemptEnded) else state_of(event.exit_code))

    def write(self, state: str) -> None:
        """Replace the file. A disk that refuses is passed over: the journal is what counts."""
        begun = self.clock()
        with suppress(OSError):
            write_json(self.folder.status_file, "status", self.summary(state))
        self._written = self.clock()
        self._took = self._written - begun

    def summary(self, state: str) -> StudyStatus:
        """What the file says."""
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
            "failures": commonest(record.trials.values()),
            "exit_code": record.closed.exit_code if record.closed else None,
            "reason": record.closed.reason if record.closed else "",
            "code": record.closed.code if record.closed else None,
        }
        if len(self.metrics) > 1:
            status["front"] = self._front()
        return status

    def _front(self) -> list[FrontFields]:
        """The trials of which none is better in one metric without being worse in another."""
        objective = self.record.objective
        return [
            {
                "trial": trial.trial,
                "values": {metric.name: point.metrics[metric.name] for metric in self.metrics},
                "config": trial.config,
            }
            for trial in front(self.record.trials.values(), self.metrics, objective)
            if (point := counted(trial, objective)) is not None
        ]

    def _best(self, best: TrialRecord) -> BestFields:
        worth = best.worth(self.record.objective)
        value = None if worth is None else self.sign * worth
        return {
            "trial": best.trial,
            "value": value,
            "epoch": best.worth_epoch(self.record.objective),
            "status": best.status,
            "config": best.config,
        }


def read_status(path: Path) -> StudyStatus:
    """What `status.json` of the study at `path` says, made true if its driver was killed.

    Raises:
        NotAStudy: if the folder holds no study, or the file is damaged or of another format.
        JournalError: if that file and the journal, of which it is made anew, are damaged.
    """
    folder = StudyFolder.open(path)
    try:
        fields = read_json(folder.status_file, version=VERSION, what="status", way_out=RENEW)
        status = cast(StudyStatus, fields)
    except FileNotFoundError:
        status = _status_of_journal(folder)
    except Unreadable as error:
        if not error.damaged or folder.wanted().stages:
            raise NotAStudy(str(error)) from None
        status = _status_of_journal(folder)
    if status["state"] == "running" and not is_held(folder.lock_file) and not held_elsewhere(folder):
        status["state"] = "interrupted"
        for stage in status.get("stages", ()):  # of a staged study: the one that ran
            stage["state"] = "interrupted" if stage["state"] == "running" else stage["state"]
    return status


def _status_of_journal(folder: StudyFolder) -> StudyStatus:
    """What the file would say; of a study that has not begun, or has stages, nothing is known."""
    sweep = folder.wanted()
    record = fold(() if sweep.stages else read_events(folder.journal_dir), sweep.objective)
    if record.attempts == 0:
        return {"version": VERSION, "study": folder.name, "state": "running", "trials": {}, "best": None}
    status = StatusFile(folder, record, sweep.metric, sweep.sign, sweep.metrics)
    return status.summary("running" if record.closed is None else state_of(record.closed.exit_code))


def state_of(exit_code: int) -> str:
    """The state of a study whose last attempt ended with this exit code."""
    states: dict[int, str] = {ExitCode.DONE: "done", ExitCode.INTERRUPTED: "interrupted"}
    return states.get(exit_code, "failed")
