"""From what the adapter to Ray says to the events of the study."""

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
OUTCOMES = {"oom": "infeasible"}  # the trainable's word -> the study's; the others are the same
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
"""Numbers that Ray puts into a result and that say nothing of the training."""


class TrialEventEmitter(Listener):
    """Turns what the adapter says into events."""

    def __init__(self, controller: StudyController) -> None:
        self.controller = controller

    def __getstate__(self) -> dict[str, Any]:
        return {}  # it goes with the scheduler, which Tuner pickles for a restore that we never do

    def reported(self, trial_id: str, result: Mapping[str, Any], decision: Decision) -> None:
        """One epoch and the decision on it; an exploit stands in the journal with its decision."""
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
            return  # no epoch came of it
        self._tell_lane(trial, result)
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
                decision=_word(decision),
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

    def _tell_lane(self, trial: TrialRecord, result: Mapping[str, Any]) -> None:
        obstacle = result.get(LANE_OBSTACLE)
        if obstacle is not None and obstacle != trial.lane_obstacle:
            self.controller.bus.emit(
                LaneReported(t=self.controller.bus.clock(), trial=trial.trial, obstacle=obstacle)
            )

    def paused(self, trial_id: str, resource: int, reason: str, code: ReasonCode = ReasonCode.RULE) -> None:
        """A trial waits."""
        self.controller.bus.emit(
            TrialPaused(
                t=self.controller.bus.clock(), trial=trial_id, epoch=resource, reason=reason, code=code
            )
        )

    def resumed(self, resume: Resume) -> None:
        """A paused trial goes on."""
        self._goes_on(resume.trial_id, resume.reason, resume.code)

    def exploited(self, trial_id: str, exploit: Exploit) -> None:
        """A paused trial goes on from another's checkpoint."""
        lineage = self.controller.record.trials[trial_id].lineage
        if not lineage or lineage[-1].epoch < exploit.resource:  # else it was told with the decision
            self._exploit(trial_id, exploit)
        self._goes_on(trial_id, exploit.reason, exploit.code)

    def retried(self, trial_id: str, resources: Mapping[str, float], reason: str, error: str) -> None:
        """A trial ran out of memory and waits to be run once more."""
        self.controller.bus.emit(
            TrialRetried(
                t=self.controller.bus.clock(), trial=trial_id, resources=resources, reason=reason, error=error
            )
        )

    def failed_awaiting_exploit(
        self, trial_id: str, ending: str, reason: str, error: str, code: ReasonCode = ReasonCode.TRIAL
    ) -> None:
        """A trial failed, and waits to go on as another's copy."""
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
        """Why a trial that has just lost its worker is not run again as it is; empty if it is."""
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
        """A trial is over."""
        if self.controller.record.trials[trial_id].outcome is not None:
            return
        outcome: Any = OUTCOMES.get(ending, ending)
        if code is ReasonCode.WORKER_LOST:
            reason = WORKERS_LOST
        if ending == "oom":
            reason = f"{reason}; {self.controller.why_no_more(trial_id)}"
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
        self.controller.keeper.collect(trial_id)

    def _goes_on(self, trial_id: str, reason: str, code: ReasonCode) -> None:
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


def _word(decision: Decision) -> Any:
    return type(decision).__name__.lower()


def _outlook(decision: Decision, sign: int) -> dict[str, float]:
    """What the rule predicted when it decided, if it predicts; in the user's direction.

    `predicted_low` and `predicted_high` are left out while too few trials have finished to tell them.
    """
    seen = None if isinstance(decision, Exploit) else decision.outlook
    if seen is None:
        return {}
    values = {"predicted_final": sign * seen.median, "predicted_chance": seen.chance}
    if seen.low is not None and seen.high is not None:
        low, high = sorted((sign * seen.low, sign * seen.high))
        values |= {"predicted_low": low, "predicted_high": high}
    return {key: value for key, value in values.items() if math.isfinite(value)}


def _metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a result that are not Ray's bookkeeping."""
    return {
        key: float(value)
        for key, value in result.items()
        if isinstance(value, int | float) and key not in BOOKKEEPING and "/" not in key
    }
