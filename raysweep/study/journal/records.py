"""The record of a study and its trials, folded from its events."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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
    """One epoch of a learning curve; `loss` is lower-is-better, `metrics` have the user's signs."""

    epoch: int
    work: int
    loss: float
    metrics: Mapping[str, float]
    generation: int
    t: float


@dataclass(slots=True)
class TrialRecord:
    """The state of one trial.

    Attributes:
        config: current values of the searched parameters, flat; an exploit replaces them.
        status: pending, running, paused, or its outcome.
        code: of the reason for its end.
        generation: number of its exploits.
        lineage: its exploits, oldest first.
        checkpoints: path by (generation, epoch) of whole checkpoints that have not been deleted.
        worker_failures: workers lost since the last new epoch, without those that got a SIGTERM.
        resources: for its second run after it ran out of memory; empty if there is none.
        last_loss, best_loss: of the finite reports; None before the first.
        best_epoch: the epoch of `best_loss`.
        failures_before_copy: failures after which it was to continue as a copy of another trial.
        awaits_copy: it failed and has not yet continued as a copy.
        awaiting_rule: the trial scheduler paused it (as opposed to a pause to free its slot for another).
        lane_obstacle: why it is trained by itself in a process that it shares; "" if it is trained together
            with others; None if it has a process of its own.
        audited: epoch and reason of a stop that an audit did not carry out; None if there was none.
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
        """Whether the trial scheduler stopped it, not the study's end or an earlier trial's result."""
        return self.outcome == "stopped" and self.code is ReasonCode.RULE

    def epochs_saved(self, epochs: int) -> int:
        """Epochs that stopping it saved, of `epochs`; 0 if the trial scheduler did not stop it."""
        return max(epochs - self.work, 0) if self.stopped_by_rule else 0

    def objective_loss(self, objective: str) -> float | None:
        """Its last or best loss, by the objective (`last` or `best`); None before the first finite report."""
        return self.last_loss if objective == "last" else self.best_loss

    def objective_value(self, objective: str, sign: int) -> float | None:
        """Its `objective_loss` as a value of the metric, whose sign is -1 if it is maximised."""
        loss = self.objective_loss(objective)
        return None if loss is None else sign * loss

    def end_loss(self, objective: str) -> float:
        """Its final loss by the objective: infinite if it diverged, or never reported a finite loss."""
        loss = self.objective_loss(objective)
        return math.inf if loss is None or self.outcome == "diverged" else loss

    def ranks(self, objective: str) -> bool:
        """Whether it is ranked: it reported a finite loss, and its outcome is not one that ranks nowhere."""
        return self.objective_loss(objective) is not None and self.outcome not in RANKS_NOWHERE

    def objective_epoch(self, objective: str) -> int:
        """The epoch of its `objective_loss`, 0 before the first report."""
        return self.epoch if objective == "last" else self.best_epoch

    def latest_checkpoint(self) -> tuple[tuple[int, int], str] | None:
        """Key and path of its newest checkpoint since its last exploit; None if there is none."""
        own = [key for key in self.checkpoints if key[0] == self.generation]
        return (max(own), self.checkpoints[max(own)]) if own else None

    def checkpoint_at(self, epoch: int) -> str | None:
        """Path of its checkpoint at `epoch`, of the latest generation that has one; None if none has."""
        keys = [key for key in self.checkpoints if key[1] == epoch]
        return self.checkpoints[max(keys)] if keys else None

    def best_checkpoint(self, monitor: str, sign: int) -> tuple[int, int]:
        """The key of the checkpoint that is best by a metric; of equals, the newest.

        Args:
            monitor: one of the metrics it reports.
            sign: +1 if less of it is better, else -1.
        """
        losses = {
            (point.generation, point.epoch): sign * point.metrics.get(monitor, math.nan)
            for point in self.curve
        }
        finite = {key: losses[key] for key in self.checkpoints if math.isfinite(losses.get(key, math.nan))}
        return min(finite, key=lambda key: (finite[key], -key[1])) if finite else max(self.checkpoints)


@dataclass(slots=True)
class StudyRecord:
    """The state of a study; `apply` folds in one event.

    Attributes:
        objective: which loss of a trial counts: `last` or `best`.
        trials: by trial id, in order of number.
        attempts: number of attempts so far.
        wanted: total number of trials the sweep asks for.
        slots: trials that can run at once now.
        slot_history: (time in unix seconds, slots from then on).
        closed: the end of the last attempt; None while one runs, or after a kill.
        lanes: trials per process, in the last attempt.
        epochs: epochs of work of all trials.
        failures: how often a trial failed; kept up to date because every step reads it.
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
        """Fold in the next event of the study's journal."""
        match event:
            case AttemptStarted():
                self.attempts, self.wanted, self.slots = event.attempt, event.trials, event.slots
                self.provenance, self.closed, self.lanes = event.provenance, None, event.lanes
                self.slot_history.append((event.t, event.slots))
                self.begun_at = event.t if self.begun_at is None else self.begun_at
                for trial in self.trials.values():
                    if trial.status == "running":
                        trial.status = "pending"  # its driver died; it waits to be started again
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
                if event.decision in ("pause", "exploit"):  # an exploit pauses it first
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
                # One that awaits a copy was counted when it failed.
                self.failures += event.outcome == "failed" and not trial.awaits_copy
                if self._leader is not None and event.outcome == "completed":
                    self._leader = min(self._leader, trial, key=self.rank_key)
            case _:
                pass

    def unfinished(self) -> list[TrialRecord]:
        """Trials that have not ended, in order of number."""
        return [trial for trial in self.trials.values() if trial.outcome is None]

    def best(self) -> TrialRecord | None:
        """The best completed trial; while none is complete, the best that reported; None if none did.

        A completed one is cached, so that the time does not grow with the number of trials.
        """
        if self._leader is not None:
            return self._leader
        ranked = (trial for trial in self.trials.values() if trial.ranks(self.objective))
        best = min(ranked, key=self.rank_key, default=None)
        self._leader = best if best is not None and best.outcome == "completed" else None
        return best

    def ranked(self) -> list[TrialRecord]:
        """The trials that rank, best first."""
        return sorted(
            (trial for trial in self.trials.values() if trial.ranks(self.objective)), key=self.rank_key
        )

    def rank_key(self, trial: TrialRecord) -> tuple[bool, float, int]:
        """Sort key: completed trials first, then by loss (none comes last), then by number."""
        loss = trial.objective_loss(self.objective)
        return trial.outcome != "completed", math.inf if loss is None else loss, trial.number

    def ancestry(self, trial: str) -> Iterator[tuple[TrialRecord, list[TrialExploited]]]:
        """The trial, its last donor, that one's last donor before, ...: whose weights it has.

        Each comes with its exploits, in order, up to where its weights were taken. An exploit takes the
        donor's weights, so the history before it is the donor's.
        """
        until = math.inf
        while True:
            record = self.trials[trial]
            exploits = [step for step in record.lineage if step.epoch < until]
            yield record, exploits
            if not exploits:
                return
            trial, until = exploits[-1].donor, exploits[-1].epoch

    def schedule(self, trial: str) -> list[tuple[int, dict[str, Any]]]:
        """The configurations that trained a trial's weights, oldest first: (after epoch, config)."""
        steps = [
            (exploits[-1].epoch, exploits[-1].config) if exploits else (0, record.first_config)
            for record, exploits in self.ancestry(trial)
        ]
        return [(epoch, dict(config)) for epoch, config in reversed(steps)]

    def slot_seconds(self, until: float) -> float:
        """Sum over all slots of the seconds that each has existed by `until` (unix seconds)."""
        ends = [*(t for t, _ in self.slot_history[1:]), until]
        return sum(slots * max(end - t, 0.0) for (t, slots), end in zip(self.slot_history, ends, strict=True))

    def counts(self) -> Counter[str]:
        """Trials by status."""
        return Counter(trial.status for trial in self.trials.values())


def fold(events: Iterable[Event], objective: str = "last") -> StudyRecord:
    """The record of a study, from all of its events."""
    record = StudyRecord(objective)
    for event in events:
        record.apply(event)
    return record
