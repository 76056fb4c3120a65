"""Turns events into updates of MLflow's runs; a pure function of the events.

`RunProjection.apply` folds one event, `RunProjection.take` returns the updates since the last call.
Everything in an update (values, steps, timestamps) follows from the events alone, so an update that
is sent again after a crash is the same one, and MLflow stores it once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from raysweep.config.parameter import is_number
from raysweep.study.journal.events import (
    AttemptEnded,
    AttemptStarted,
    EpochReported,
    Event,
    LaneReported,
    StudyExtended,
    TrialCreated,
    TrialEnded,
    TrialExploited,
    TrialFailedAwaitingExploit,
    TrialPaused,
    TrialPlaced,
    TrialPromoted,
    TrialRecovered,
    TrialReopened,
    TrialRetried,
    TrialStarted,
)
from raysweep.study.journal.failures import exception_line
from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.tracking.provenance import run_tags
from raysweep.tracking.runs import (
    MAX_TAG,
    InputData,
    SweepFacts,
    clip,
    entity_key,
    input_data,
    log10_values,
    metric_key,
    param_text,
    params,
    run_name,
)

PARENT = ""  # in place of a trial's id, for the sweep's own run
Status = Literal["RUNNING", "FINISHED", "FAILED"]  # KILLED shows as a red cross, like a failure
RANKED = 0  # step of the ranking metrics: a metric with only step 0 is a bar chart in the UI
Point = tuple[str, float, int, int]  # metric, value, timestamp in ms, step


@dataclass(slots=True)
class RunUpdate:
    """The update of one run, written in the order: create; texts; params, tags and metrics; status.

    Attributes:
        trial: trial id, or PARENT.
        name: of the run.
        born_ms: when the run began, in case it has to be created.
        status: set if the run ends or is opened again.
        at_ms: time of that.
        texts: artifacts, text by file name.
        data: that it trains on.
    """

    trial: str
    name: str
    born_ms: int
    metrics: list[Point] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    data: InputData | None = None
    status: Status | None = None
    at_ms: int = 0


@dataclass(slots=True)
class RunProjection:
    """The intended state of a study's runs.

    Attributes:
        record: of the study so far.
        study_id: identity of the study, which follows from its name and its first event.
    """

    facts: SweepFacts
    study_id: str
    record: StudyRecord = field(init=False)
    _changes: dict[str, RunUpdate] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)
    _shown: dict[str, dict[str, str]] = field(default_factory=dict)
    """Tags by trial as last sent, so that only changes are sent."""
    _best: tuple[str, float] | None = None

    def __post_init__(self) -> None:
        """Start with an empty record."""
        self.record = StudyRecord(self.facts.objective)

    def apply(self, event: Event) -> None:
        """Fold the next event of the journal."""
        self.record.apply(event)
        match event:
            case AttemptStarted():
                self._begin(event)
            case StudyExtended():
                self._parent(event.t).tags["revision"] = str(event.revision)
                self._parent(event.t).tags[f"revision.{event.revision}"] = param_text(dict(event.changes))
            case AttemptEnded():
                self._close(event)
            case TrialCreated():
                self._ask(event)
            case TrialPlaced():
                self._trial(event.trial).tags |= worker_tags(event)
            case LaneReported():
                self._trial(event.trial).tags["lane"] = clip(event.obstacle or "fused", MAX_TAG)
            case EpochReported(again=False):
                self._report(event)
            case TrialExploited():
                self._exploit(event)
            case TrialRecovered():
                self._trial(event.trial).tags["recovered"] = clip(exception_line(event.error), MAX_TAG)
            case TrialRetried():
                change = self._trial(event.trial)
                change.tags["retried"] = clip(f"{param_text(dict(event.resources))}: {event.reason}", MAX_TAG)
                change.texts["out_of_memory.txt"] = event.error or event.reason
            case TrialFailedAwaitingExploit():
                change = self._trial(event.trial)
                change.tags["fallen"] = clip(f"{event.outcome}: {event.reason}", MAX_TAG)
                change.texts["fallen.txt"] = event.error or event.reason
            case TrialEnded():
                self._end(event)
            case TrialStarted() | TrialPromoted() | TrialReopened():
                self._reopen(event.trial, event.t)
            case TrialPaused():
                self._trial(event.trial)
            case _:
                pass
        if isinstance(event, EpochReported | TrialEnded):
            self._show_best(event.t)

    def identity(self, trial: str) -> dict[str, str]:
        """Tags with which a run is created, and by which it is found again."""
        kind = {"kind": "sweep"} if trial == PARENT else {"kind": "trial", "trial": trial}
        return {**kind, "study": self.facts.study, "study_id": self.study_id}

    def take(self) -> list[RunUpdate]:
        """The updates since the last call; the parent first, since its run must exist before the others."""
        for name, change in self._changes.items():
            if name != PARENT and name in self.record.trials:
                self._show(change, self.record.trials[name])
        changes, self._changes = self._changes, {}
        return sorted(changes.values(), key=lambda change: change.trial)

    def _trial(self, trial: str) -> RunUpdate:
        if trial not in self._changes:
            record = self.record.trials[trial]
            name = run_name(trial, record.first_config, self.facts)
            self._changes[trial] = RunUpdate(trial, name, ms(record.asked_at))
        return self._changes[trial]

    def _parent(self, t: float) -> RunUpdate:
        born = t if self.record.begun_at is None else self.record.begun_at
        return self._changes.setdefault(PARENT, RunUpdate(PARENT, self.facts.study, ms(born)))

    def _begin(self, event: AttemptStarted) -> None:
        parent = self._parent(event.t)
        parent.tags |= run_tags(event.provenance)
        parent.tags |= {"state": "running", "attempt": str(event.attempt)}
        if event.lanes > 1:
            parent.tags["lanes"] = str(event.lanes)
        if event.attempt == 1:  # params are written once
            parent.params |= {
                entity_key(key): param_text(value) for key, value in self.facts.settings.items()
            }
        parent.data = self._data()
        if event.attempt == 1 and self.facts.sweep_yaml:
            parent.texts["sweep.yaml"] = self.facts.sweep_yaml
        parent.status, parent.at_ms = "RUNNING", ms(event.t)

    def _ask(self, event: TrialCreated) -> None:
        change = self._trial(event.trial)
        change.tags |= run_tags(self.record.provenance)
        change.tags["source"] = event.source
        change.data = self._data()
        if event.revision:
            change.tags["revision"] = str(event.revision)
        change.params |= params(event.config, self.facts)
        self._open.add(event.trial)

    def _data(self) -> InputData | None:
        return input_data(self.facts.data, str(self.record.provenance.get("data_fingerprint", "")))

    def _report(self, event: EpochReported) -> None:
        self._reopen(event.trial, event.t)
        change, t = self._trial(event.trial), ms(event.t)
        for name, value in event.metrics.items():
            if name == "epoch" or isinstance(value, bool) or not isinstance(value, int | float):
                continue  # the step is the epoch
            key = metric_key(name)
            change.metrics.append((key, float(value), t, event.work))
            if not math.isfinite(value):  # MLflow keeps NaN, but shows inf as 1.8e308
                change.tags.setdefault(f"non_finite.{key}", f"{value} at step {event.work}")
        if event.epoch != event.work:
            change.metrics.append(("epoch", float(event.epoch), t, event.work))

    def _exploit(self, event: TrialExploited) -> None:
        """Log the copied configuration as metrics over the trial's steps, since params are written once."""
        change, trial = self._trial(event.trial), self.record.trials[event.trial]
        if len(trial.lineage) == 1:
            change.metrics += config_points(trial.first_config, self.facts, trial.asked_at, 0)
        change.metrics += config_points(event.config, self.facts, event.t, trial.work)

    def _end(self, event: TrialEnded) -> None:
        change = self._trial(event.trial)
        if event.error:
            change.texts["traceback.txt"] = event.error
        change.status = "FAILED" if event.outcome in ("failed", "infeasible") else "FINISHED"
        change.at_ms = ms(event.t)
        self._open.discard(event.trial)

    def _reopen(self, trial: str, t: float) -> None:
        """Open a trial's run again that an earlier attempt ended (`resume`, `extend`)."""
        change = self._trial(trial)
        if trial not in self._open:
            self._open.add(trial)
            change.status, change.at_ms = "RUNNING", ms(t)

    def _close(self, event: AttemptEnded) -> None:
        """End all runs at the attempt's end; an unfinished trial's run is opened again by `resume`."""
        for trial in sorted(self._open):
            change = self._trial(trial)
            change.status, change.at_ms = "FINISHED", ms(event.t)
        self._open.clear()
        parent = self._parent(event.t)
        parent.tags |= {"state": "finished" if event.exit_code == 0 else "interrupted"}
        parent.tags |= {"exit_code": str(event.exit_code), "stop_reason": clip(event.reason, MAX_TAG)}
        parent.status, parent.at_ms = "FINISHED", ms(event.t)

    def _show(self, change: RunUpdate, trial: TrialRecord) -> None:
        """Add tags and metrics with the trial's current state."""
        tags = self._state_tags(trial)
        shown = self._shown.get(trial.trial, {})
        change.tags |= {key: value for key, value in tags.items() if shown.get(key, "") != value}
        self._shown[trial.trial] = tags
        if not change.metrics or not trial.curve:
            return
        point = trial.curve[-1]
        for objective, loss in (("last", point.loss), ("best", trial.best_loss)):
            if loss is not None:
                key = entity_key(f"{objective}_{self.facts.metric}")
                change.metrics.append((key, self.facts.sign * loss, ms(point.t), RANKED))

    def _state_tags(self, trial: TrialRecord) -> dict[str, str]:
        reason = trial.reason
        state = trial.status
        if trial.outcome is None and self.record.closed is not None:
            state, reason = "interrupted", f"the sweep ended first: {self.record.closed.reason}"
        tags = {"state": state, "stop_reason": clip(reason, MAX_TAG)}
        if trial.lineage:
            steps = [f"{step.donor} at epoch {step.epoch}" for step in trial.lineage]
            tags["generation"] = str(trial.generation)
            tags["lineage"] = clip(", ".join(steps), MAX_TAG)
            tags["exploit_reason"] = clip(trial.lineage[-1].reason, MAX_TAG)
        if trial.error:
            tags["error"] = clip(exception_line(trial.error), MAX_TAG)
        return tags

    def _show_best(self, t: float) -> None:
        """Log the best trial so far as a metric of the parent run, over the epochs of all trials.

        Its last value ranks sweeps against each other. It gets worse if the first completed trial is worse
        than an unfinished one was before.
        """
        best = self.record.best()
        value = None if best is None else best.objective_value(self.facts.objective, self.facts.sign)
        if best is None or value is None or (best.trial, value) == self._best:
            return
        self._best = best.trial, value
        parent = self._parent(t)
        parent.tags["best_trial"] = best.trial
        key = entity_key(f"best_{self.facts.metric}")
        parent.metrics.append((key, value, ms(t), self.record.epochs))


def worker_tags(event: TrialPlaced) -> dict[str, str]:
    """Tags with the machine of a trial's process."""
    return {"node": event.worker.rpartition(":")[0], "gpu": event.gpu, "torch": event.torch}


def config_points(config: Any, facts: SweepFacts, t: float, step: int) -> list[Point]:
    """The numbers of a configuration, and log10 of the log-scaled ones, as points at one step."""
    numbers = {entity_key(key): float(value) for key, value in config.items() if is_number(value)}
    return [(key, value, ms(t), step) for key, value in {**numbers, **log10_values(config, facts)}.items()]


def ms(t: float) -> int:
    """Seconds in milliseconds, MLflow's unit."""
    return round(t * 1000)
