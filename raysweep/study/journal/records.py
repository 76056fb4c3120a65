"""What happened: the trials of a study, folded from its events."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raysweep.study.journal.events import (
    AttemptEnded,
    AttemptStarted,
    CheckpointSaved,
    EpochReported,
    Event,
    LaneReported,
    SlotsChanged,
    Source,
    StudyExtended,
    TrialCreated,
    TrialEnded,
    TrialExploited,
    TrialFailedAwaitingExploit,
    TrialPaused,
    TrialPromoted,
    TrialRecovered,
    TrialReopened,
    TrialRetried,
    TrialStarted,
)
from schedulers.outcome import RANKS_NOWHERE
from schedulers.reason import ReasonCode


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One epoch of a learning curve; `loss` is lower-is-better, `metrics` are in the user's words."""

    epoch: int
    work: int
    loss: float
    metrics: Mapping[str, float]
    generation: int
    t: float


@dataclass(slots=True)
class TrialRecord:
    """One trial, as far as it is known.

    Attributes:
        config: the searched parameters now, flat; an exploit replaces them.
        status: pending, running, paused, or its outcome.
        code: the kind of the reason why it ended.
        generation: exploits behind it.
        lineage: those exploits, oldest first.
        checkpoints: (generation, epoch) -> path, whole ones that still exist as far as we know.
        worker_failures: workers lost since the last epoch that was new, those that got a SIGTERM aside.
        resources: of its second run, after it ran out of memory; empty if it did not, or may have none.
        last_loss, best_loss: of the finite reports; None before the first.
        best_epoch: the epoch of `best_loss`.
        failures_before_copy: its failures after which it was to go on as another's copy.
        awaits_copy: the last of them holds: it has not gone on yet.
        awaiting_rule: the trial scheduler's last word was to pause it (it did not just give way to another).
        lane_obstacle: why it is trained by itself though it shares a process; empty if it is not; None where
            it has a process of its own.
        audited: epoch at which it would have been stopped, and why; None unless an audit let it run on.
    """

    number: int
    trial: str
    config: dict[str, Any]
    source: Source
    asked_at: float
    revision: int = 0
    status: str = "pending"
    outcome: str | None = None
    reason: str = ""
    code: ReasonCode = ReasonCode.RULE
    error: str = ""
    curve: list[CurvePoint] = field(default_factory=list)
    generation: int = 0
    lineage: list[TrialExploited] = field(default_factory=list)
    first_config: dict[str, Any] = field(default_factory=dict)
    checkpoints: dict[tuple[int, int], str] = field(default_factory=dict)
    started_at: float | None = None
    ended_at: float | None = None
    worker_failures: int = 0
    resources: dict[str, float] = field(default_factory=dict)
    last_loss: float | None = None
    best_loss: float | None = None
    best_epoch: int = 0
    failures_before_copy: list[TrialFailedAwaitingExploit] = field(default_factory=list)
    awaits_copy: bool = False
    awaiting_rule: bool = False
    audited: tuple[int, str] | None = None
    lane_obstacle: str | None = None

    @property
    def epoch(self) -> int:
        """The last epoch reported, 0 before the first."""
        return self.curve[-1].epoch if self.curve else 0

    @property
    def work(self) -> int:
        """Epochs of work done."""
        return len(self.curve)

    @property
    def stopped_by_rule(self) -> bool:
        """Whether the trial scheduler stopped it: not the end of the study, nor an earlier trial's result."""
        return self.outcome == "stopped" and self.code is ReasonCode.RULE

    def epochs_saved(self, epochs: int) -> int:
        """How many of so many epochs it was not given since the trial scheduler stopped it."""
        return max(epochs - self.work, 0) if self.stopped_by_rule else 0

    def worth(self, objective: str) -> float | None:
        """Its loss by the objective (`last` or `best`); None before the first finite report."""
        return self.last_loss if objective == "last" else self.best_loss

    def end_loss(self, objective: str) -> float:
        """What its end is worth: infinite if it diverged, or never reported a finite loss."""
        worth = self.worth(objective)
        return math.inf if worth is None or self.outcome == "diverged" else worth

    def ranks(self, objective: str) -> bool:
        """Whether it is compared with others: it reported, and no outcome speaks against it."""
        return self.worth(objective) is not None and self.outcome not in RANKS_NOWHERE

    def worth_epoch(self, objective: str) -> int:
        """The epoch at which it was worth that, 0 before the first report."""
        return self.epoch if objective == "last" else self.best_epoch

    def latest_checkpoint(self) -> tuple[tuple[int, int], str] | None:
        """The newest of its own checkpoints made since its last exploit, with its key."""
        own = [key for key in self.checkpoints if key[0] == self.generation]
        return (max(own), self.checkpoints[max(own)]) if own else None

    def checkpoint_at(self, epoch: int) -> str | None:
        """Path of its checkpoint at `epoch`, of the latest generation that has one."""
        keys = [key for key in self.checkpoints if key[1] == epoch]
        return self.checkpoints[max(keys)] if keys else None

    def best_checkpoint(self, monitor: str, sign: int) -> tuple[int, int]:
        """The key of the checkpoint whose epoch was best by `monitor`, of equals the newest.

        Args:
            monitor: one of the metrics it reports.
            sign: +1 if less of it is better, else -1.
        """
        worth = {
            (point.generation, point.epoch): sign * point.metrics.get(monitor, math.nan)
            for point in self.curve
        }
        ranked = {key: worth.get(key, math.nan) for key in self.checkpoints}
        known = {key: value for key, value in ranked.items() if math.isfinite(value)}
        return min(known, key=lambda key: (known[key], -key[1])) if known else max(ranked)


@dataclass(slots=True)
class StudyRecord:
    """A study as a whole; `apply` is the fold.

    Attributes:
        objective: what a trial is worth: `last` or `best`.
        trials: by trial id, in order of number.
        attempts: how often it was begun.
        wanted: trials asked for in all.
        slots: trials that can run at once now.
        slot_history: since when (wall-clock seconds) there are how many slots.
        closed: how the last attempt ended, None while one runs or after a kill.
        lanes: trials of a process, in the last attempt.
        failures: how often a trial failed, counted as it happens: it is asked for at every step.
    """

    objective: str = "last"
    trials: dict[str, TrialRecord] = field(default_factory=dict)
    attempts: int = 0
    wanted: int = 0
    slots: int = 0
    slot_history: list[tuple[float, int]] = field(default_factory=list)
    lanes: int = 1
    revision: int = 0
    begun_at: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    closed: AttemptEnded | None = None
    epochs: int = 0
    failures: int = 0
    _leader: TrialRecord | None = field(default=None, repr=False, compare=False)

    def apply(self, event: Event) -> None:
        """Take one event in. Events of one study, in the order of its journal."""
        match event:
            case AttemptStarted():
                self.attempts, self.wanted, self.slots = event.attempt, event.trials, event.slots
                self.provenance, self.closed, self.lanes = event.provenance, None, event.lanes
                self.slot_history.append((event.t, event.slots))
                self.begun_at = event.t if self.begun_at is None else self.begun_at
                for trial in self.trials.values():
                    if trial.status == "running":
                        trial.status = "pending"  # its driver is gone; it waits to be handed over again
            case TrialCreated():
                self.trials[event.trial] = TrialRecord(
                    int(event.trial),
                    event.trial,
                    dict(event.config),
                    event.source,
                    event.t,
                    event.revision,
                    first_config=dict(event.config),
                )
            case SlotsChanged():
                self.slots = event.slots
                self.slot_history.append((event.t, event.slots))
            case StudyExtended():
                self.revision = event.revision
            case AttemptEnded():
                self.closed = event
            case _:
                self._apply_to_trial(self.trials[event.trial], event)

    def _apply_to_trial(self, trial: TrialRecord, event: Event) -> None:
        if isinstance(event, EpochReported | TrialPromoted) and event.code is ReasonCode.AUDITED:
            trial.audited = trial.audited or (event.epoch, event.reason)
        match event:
            case TrialStarted() | TrialPromoted():
                trial.status, trial.awaits_copy = "running", False
                trial.started_at = event.t if trial.started_at is None else trial.started_at
            case LaneReported():
                trial.lane_obstacle = event.obstacle
            case EpochReported(again=False):
                loss = math.nan if event.loss is None else event.loss
                trial.curve.append(
                    CurvePoint(event.epoch, event.work, loss, event.metrics, event.generation, event.t)
                )
                if math.isfinite(loss):
                    trial.last_loss = loss
                    if trial.best_loss is None or loss < trial.best_loss:
                        trial.best_loss, trial.best_epoch = loss, event.epoch
                trial.worker_failures = 0
                trial.awaiting_rule = event.decision == "pause"
                self.epochs += 1
                if event.decision in ("pause", "exploit"):  # to copy, it is paused first
                    trial.status = "paused"
            case CheckpointSaved():
                trial.checkpoints[event.generation, event.epoch] = event.path
            case TrialExploited():
                trial.generation, trial.config = event.generation, dict(event.config)
                trial.lineage.append(event)
            case TrialPaused():
                trial.status = "paused"
            case TrialRecovered():
                trial.worker_failures += not event.terminated
            case TrialRetried():
                trial.status, trial.resources = "paused", dict(event.resources)
            case TrialFailedAwaitingExploit():
                trial.status, trial.awaits_copy, trial.awaiting_rule = "paused", True, True
                trial.worker_failures = 0
                trial.failures_before_copy.append(event)
                self.failures += event.outcome == "failed"
            case TrialReopened():
                self.failures -= trial.outcome == "failed"
                self._leader = None
                trial.status = "paused" if event.waits else "pending"
                trial.outcome, trial.reason, trial.ended_at = None, "", None
                trial.code = ReasonCode.RULE
            case TrialEnded():
                trial.status = trial.outcome = event.outcome
                trial.reason, trial.code, trial.error = event.reason, event.code, event.error
                trial.ended_at = event.t
                self.failures += (
                    event.outcome == "failed" and not trial.awaits_copy
                )  # else it is counted already
                if self._leader is not None and event.outcome == "completed":
                    self._leader = min(self._leader, trial, key=self.rank_key)
            case _:
                pass

    def unfinished(self) -> list[TrialRecord]:
        """Trials that have not ended, in order of number."""
        return [trial for trial in self.trials.values() if trial.outcome is None]

    def best(self) -> TrialRecord | None:
        """The completed trial of least worth; while none is complete, the least of those that reported.

        Once one is complete it is known at once, however many trials there are.
        """
        if self._leader is not None:
            return self._leader
        counted = (trial for trial in self.trials.values() if trial.ranks(self.objective))
        best = min(counted, key=self.rank_key, default=None)
        self._leader = best if best is not None and best.outcome == "completed" else None
        return best

    def ranked(self) -> list[TrialRecord]:
        """The trials that rank, best first."""
        counted = (trial for trial in self.trials.values() if trial.ranks(self.objective))
        return sorted(counted, key=self.rank_key)

    def rank_key(self, trial: TrialRecord) -> tuple[bool, float, int]:
        """Sorts completed trials first, then by worth, then by number; one without any worth comes last."""
        worth = trial.worth(self.objective)
        return trial.outcome != "completed", math.inf if worth is None else worth, trial.number

    def schedule(self, trial: str) -> list[tuple[int, dict[str, Any]]]:
        """The configurations a trial's weights were trained under, oldest first: (after epoch, config).

        An exploit takes the donor's weights, so what came before it is the donor's history up to
        that epoch, not the trial's own.
        """
        steps: list[tuple[int, dict[str, Any]]] = []
        name, until = trial, math.inf
        while True:
            record = self.trials[name]
            copied = [step for step in record.lineage if step.epoch < until]
            if not copied:
                return [(0, dict(record.first_config)), *reversed(steps)]
            steps.append((copied[-1].epoch, dict(copied[-1].config)))
            name, until = copied[-1].donor, copied[-1].epoch

    def slot_seconds(self, until: float) -> float:
        """Seconds that all slots together have had by `until` (wall-clock), whether a driver ran or not."""
        ends = [*(t for t, _ in self.slot_history[1:]), until]
        return sum(slots * max(end - t, 0.0) for (t, slots), end in zip(self.slot_history, ends, strict=True))

    def counts(self) -> Counter[str]:
        """Trials by status."""
        return Counter(trial.status for trial in self.trials.values())


def fold(events: Iterable[Event], objective: str = "last") -> StudyRecord:
    """All events of a study -> its record."""
    record = StudyRecord(objective)
    for event in events:
        record.apply(event)
    return record
