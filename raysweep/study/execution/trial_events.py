"""Turns the notifications of the adapter to Ray into the events of the study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from raysweep.study.execution.controller import StudyController
from raysweep.study.journal.events import (
    CheckpointFailed,
    EpochReported,
    LaneReported,
    TrialEnded,
    TrialExploited,
    TrialFailedAwaitingExploit,
    TrialPaused,
    TrialPlaced,
    TrialPromoted,
    TrialRetried,
)
from raysweep.study.journal.records import TrialRecord
from schedulers.reason import ReasonCode
from schedulers.rule import Decision, Exploit, Resume
from schedulers.tune.listener import Listener
from trainables.lane_host import FOLLOWED, LANE_OBSTACLE

WORKERS_LOST_WITHOUT_PROGRESS = 3
WORKERS_LOST = f"lost its worker {WORKERS_LOST_WITHOUT_PROGRESS} times without a new epoch"
OUTCOMES = {"oom": "infeasible"}  # the trainable's outcome -> the study's; the others are the same
BOOKKEEPING = frozenset(
    (
        "training_iteration",
        "time_since_restore",
        "iterations_since_restore",
        "time_this_iter_s",
        "time_total_s",
        "timestamp",
        "pid",
        "done",
        "should_checkpoint",
        "epoch",
        FOLLOWED,
    )
)
"""Numbers in a result that are no metrics of the training."""


class TrialEventEmitter(Listener):
    """Emits an event for each notification of the adapter."""

    def __init__(self, controller: StudyController) -> None:
        self.controller = controller

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tuner pickles the scheduler, which holds this, for a restore that is never done

    def reported(self, trial_id: str, result: Mapping[str, Any], decision: Decision) -> None:
        """Emit one epoch with the decision on it, and the exploit if that is the decision."""
        trial, sweep = self.controller.record.trials[trial_id], self.controller.sweep
        worker = f"{result.get('hostname', '')}:{result.get('pid', '')}"
        if "process/torch" in result:  # Ray flattens what it passes on
            self.controller.bus.emit(
                TrialPlaced(
                    t=self.controller.bus.clock(),
                    trial=trial_id,
                    worker=worker,
                    gpu=str(result["process/gpu"]),
                    torch=str(result["process/torch"]),
                )
            )
        if result.get("outcome") in ("failed", "oom"):
            return  # without an epoch
        self._report_lane(trial, result)
        value, epoch = result.get(sweep.metric), int(result["epoch"])
        again = epoch <= trial.epoch
        self.controller.bus.emit(
            EpochReported(
                t=self.controller.bus.clock(),
                trial=trial_id,
                generation=trial.generation,
                epoch=epoch,
                work=trial.work + (not again),
                loss=None if value is None else sweep.sign * float(value),
                metrics=_metrics(result) | _outlook(decision, sweep.sign),
                decision=_kind(decision),
                reason=decision.reason,
                code=decision.code,
                worker=worker,
                again=again,
            )
        )
        if result.get("unsaved"):
            self.controller.bus.emit(
                CheckpointFailed(t=self.controller.bus.clock(), trial=trial_id, error=str(result["unsaved"]))
            )
        if isinstance(decision, Exploit):
            self._exploit(trial_id, decision)

    def _report_lane(self, trial: TrialRecord, result: Mapping[str, Any]) -> None:
        obstacle = result.get(LANE_OBSTACLE)
        if obstacle is not None and obstacle != trial.lane_obstacle:
            self.controller.bus.emit(
                LaneReported(t=self.controller.bus.clock(), trial=trial.trial, obstacle=obstacle)
            )

    def paused(self, trial_id: str, resource: int, reason: str, code: ReasonCode = ReasonCode.RULE) -> None:
        """Emit that a trial was paused."""
        self.controller.bus.emit(
            TrialPaused(
                t=self.controller.bus.clock(), trial=trial_id, epoch=resource, reason=reason, code=code
            )
        )

    def resumed(self, resume: Resume) -> None:
        """Emit that a paused trial continues."""
        self._promote(resume.trial_id, resume.reason, resume.code)

    def exploited(self, trial_id: str, exploit: Exploit) -> None:
        """Emit that a paused trial continues from another's checkpoint."""
        lineage = self.controller.record.trials[trial_id].lineage
        if not lineage or lineage[-1].epoch < exploit.resource:  # else it was emitted with the decision
            self._exploit(trial_id, exploit)
        self._promote(trial_id, exploit.reason, exploit.code)

    def retried(self, trial_id: str, resources: Mapping[str, float], reason: str, error: str) -> None:
        """Emit that a trial ran out of memory and waits to run once more."""
        self.controller.bus.emit(
            TrialRetried(
                t=self.controller.bus.clock(), trial=trial_id, resources=resources, reason=reason, error=error
            )
        )

    def failed_awaiting_exploit(
        self, trial_id: str, ending: str, reason: str, error: str, code: ReasonCode = ReasonCode.TRIAL
    ) -> None:
        """Emit that a trial failed, and waits to continue as a copy of another."""
        outcome: Any = OUTCOMES.get(ending, ending)
        self.controller.bus.emit(
            TrialFailedAwaitingExploit(
                t=self.controller.bus.clock(),
                trial=trial_id,
                outcome=outcome,
                reason=reason,
                code=code,
                error=error,
            )
        )

    def lost_for_good(self, trial_id: str) -> str:
        """Why a trial that has just lost its worker is not run again as it is; "" if it is."""
        lost = self.controller.record.trials[trial_id].worker_failures + 1
        return WORKERS_LOST if self.controller.rule.replaces and lost >= WORKERS_LOST_WITHOUT_PROGRESS else ""

    def ended(
        self,
        trial_id: str,
        ending: str,
        reason: str,
        error: str = "",
        code: ReasonCode = ReasonCode.RULE,
    ) -> None:
        """Emit the end of a trial."""
        if self.controller.record.trials[trial_id].outcome is not None:
            return
        outcome: Any = OUTCOMES.get(ending, ending)
        if code is ReasonCode.WORKER_LOST:
            reason = WORKERS_LOST
        if ending == "oom":
            reason = f"{reason}; {self.controller.no_retry_reason(trial_id)}"
        self.controller.bus.emit(
            TrialEnded(
                t=self.controller.bus.clock(),
                trial=trial_id,
                outcome=outcome,
                reason=reason,
                code=code,
                error=error,
            )
        )
        self.controller.keep_best()
        self.controller.janitor.collect(trial_id)

    def _promote(self, trial_id: str, reason: str, code: ReasonCode) -> None:
        epoch = self.controller.record.trials[trial_id].epoch
        self.controller.bus.emit(
            TrialPromoted(
                t=self.controller.bus.clock(), trial=trial_id, epoch=epoch, reason=reason, code=code
            )
        )

    def _exploit(self, trial_id: str, exploit: Exploit) -> None:
        self.controller.bus.emit(
            TrialExploited(
                t=self.controller.bus.clock(),
                trial=trial_id,
                donor=exploit.donor,
                epoch=exploit.resource,
                generation=self.controller.record.trials[trial_id].generation + 1,
                config=exploit.config,
                reason=exploit.reason,
                code=exploit.code,
            )
        )


def _kind(decision: Decision) -> Any:
    return type(decision).__name__.lower()


def _outlook(decision: Decision, sign: int) -> dict[str, float]:
    """The rule's prediction at its decision as metrics, with the user's sign; empty if it made none.

    `predicted_low` and `predicted_high` are missing while too few trials have finished to know them.
    """
    outlook = None if isinstance(decision, Exploit) else decision.outlook
    if outlook is None:
        return {}
    values = {"predicted_final": sign * outlook.median, "predicted_chance": outlook.chance}
    if outlook.low is not None and outlook.high is not None:
        low, high = sorted((sign * outlook.low, sign * outlook.high))
        values |= {"predicted_low": low, "predicted_high": high}
    return {key: value for key, value in values.items() if math.isfinite(value)}


def _metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a result that are not Ray's bookkeeping."""
    return {
        key: float(value)
        for key, value in result.items()
        if isinstance(value, int | float) and key not in BOOKKEEPING and "/" not in key
    }
