"""The control of a running study, without Ray: which trial comes next, when to stop, how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysweep.config import Sweep
from raysweep.errors import ExitCode
from raysweep.search.searcher import Searcher
from raysweep.study.execution.checkpoint_gc import CheckpointJanitor
from raysweep.study.execution.run_plan import RunPlan
from raysweep.study.execution.shutdown import StopSignal
from raysweep.study.execution.slot_follower import SlotCount
from raysweep.study.execution.stop_conditions import describe_reached_goal
from raysweep.study.journal.event_bus import EventBus
from raysweep.study.journal.events import (
    AttemptEnded,
    AttemptStarted,
    EpochReported,
    SlotsChanged,
    TrialCreated,
    TrialEnded,
)
from raysweep.study.journal.failures import MAX_REPEATED, repeated_error
from raysweep.study.journal.pareto import scored_point
from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.study.results.best_config import write_best
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.locations import discard
from schedulers.reason import ReasonCode
from schedulers.rule import Rule
from schedulers.trial_id import trial_id


@dataclass(frozen=True, slots=True)
class Finish:
    """How an attempt ended.

    Attributes:
        exit_code: of the command.
        reason: for the exit code.
        record: of the study.
        notes: further lines for the user.
        unfit: why no trial can succeed, one line each.
        code: of the reason.
    """

    exit_code: int
    reason: str
    record: StudyRecord
    notes: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    code: ReasonCode = ReasonCode.ALL_ENDED


@dataclass
class StudyController:
    """The state that the adapters to Ray share: the study's record and event bus, and the trials to come.

    Attributes:
        discard: deletes a checkpoint, now or later.
        to_resume: unfinished trials of earlier attempts, not yet handed to Ray.
        exhausted: the searcher has nothing left to try.
        unfit: why no trial can succeed, from the first process that tried.
        goal_reached: the sweep's `stop` is reached, so that unfinished trials end.
        slots: trials that may run at once now.
    """

    plan: RunPlan
    bus: EventBus
    rule: Rule
    searcher: Searcher
    stop: StopSignal
    attempt: int = 0
    discard: Callable[[str | Path], None] = discard
    to_resume: list[TrialRecord] = field(default_factory=list)
    exhausted: bool = False
    unfit: tuple[str, ...] = ()
    goal_reached: bool = False
    slots: int = field(init=False)
    _exit_code: int = ExitCode.INTERRUPTED
    _deadline: float | None = None
    _placed_at: float | None = None
    _goal_checked_at_epochs: int = -1
    _begun_at: float = 0.0
    _failed_before: int = 0
    _repeated_checked_at_failures: int = 0
    _best_written: tuple[str, float | None] | None = None

    def __post_init__(self) -> None:
        checkpoints = self.sweep.run.checkpoint_config
        self.janitor = CheckpointJanitor(
            self.record,
            self.folder.locate,
            self.rule.is_exploit_source,
            checkpoints.keep_last_k,
            discard=self.discard,
        )
        if checkpoints.enabled and checkpoints.save_best:
            self.janitor.monitor, self.janitor.sign = checkpoints.monitor, checkpoints.sign
        self.janitor.keep_completed = checkpoints.enabled
        self.slots = self.plan.slots

    @property
    def sweep(self) -> Sweep:
        """The sweep of the attempt."""
        return self.plan.sweep

    @property
    def folder(self) -> StudyFolder:
        """The folder of the study."""
        return self.plan.folder

    @property
    def record(self) -> StudyRecord:
        """The fold of all events so far."""
        return self.bus.record

    def begin(self) -> None:
        """Begin the attempt, and queue the trials that earlier attempts left unfinished.

        If the study's goal is reached already, `stop` is requested at once.
        """
        self.attempt = self.record.attempts + 1
        now = self.bus.clock()
        self.bus.emit(
            AttemptStarted(
                t=now,
                attempt=self.attempt,
                slots=self.slots,
                trials=self.sweep.trials,
                lanes=self.plan.lanes,
                provenance=dict(self.plan.provenance),
            )
        )
        self.janitor.catch_up(self.folder.path)
        if self.sweep.time_budget_s is not None:
            self._deadline = now + self.sweep.time_budget_s
        # Failures of earlier attempts do not count: the user has seen them, and resumed.
        self._begun_at, self._failed_before = now, self.record.failures
        # Paused ones first: they take no slot, and the rule must see them all before it promotes one.
        self.to_resume = sorted(
            self.record.unfinished(), key=lambda trial: (trial.status != "paused", trial.number)
        )
        self._check_goal("already done: ")

    def change_slots(self, count: SlotCount) -> None:
        """Change the number of trials that may run at once, since nodes or other studies came or went."""
        if count.slots != self.slots:
            self.slots = count.slots
            self.bus.emit(SlotsChanged(t=self.bus.clock(), slots=count.slots, reason=count.reason))

    def wanted(self, busy: int) -> int:
        """Number of trials that could run at once: all that have not ended.

        If only paused trials are left, one more than now.

        Args:
            busy: trials that run now, or wait for a process.
        """
        if self.to_resume or not self.all_asked:
            ended = sum(trial.outcome is not None for trial in self.record.trials.values())
            return max(self.sweep.trials - ended, busy)
        return busy + (len(self.record.unfinished()) > busy)

    def ask(self) -> tuple[str, dict[str, Any]] | None:
        """The id and searched values of a new trial; None if none is due, or nothing is left to try."""
        while not self.all_asked and self.searcher.ready(len(self.record.trials)):
            number = len(self.record.trials)
            proposal = self.searcher.ask(number)
            if proposal is None:
                self.exhausted = True
                return None
            name = trial_id(number)
            self.bus.emit(
                TrialCreated(
                    t=self.bus.clock(),
                    trial=name,
                    config=proposal.config,
                    source=proposal.source,
                    revision=self.record.revision,
                    draws=proposal.draws,
                )
            )
            if self.bus.broken:
                return None
            if not proposal.same_as:
                return name, proposal.config
            self._take_over(name, self.record.trials[proposal.same_as])
        return None

    def _take_over(self, name: str, twin: TrialRecord) -> None:
        """End a trial with the result of an earlier one of the same configuration, without running it."""
        reason = f"not run: the same configuration as trial {twin.number}"
        point = scored_point(twin, self.record.objective)
        if point is not None:
            self.bus.emit(
                EpochReported(
                    t=self.bus.clock(),
                    trial=name,
                    generation=0,
                    epoch=point.epoch,
                    work=1,
                    loss=point.loss,
                    metrics=point.metrics,
                    decision="stop",
                    reason=reason,
                    code=ReasonCode.DUPLICATE,
                )
            )
        outcome: Any = twin.outcome
        self.rule.end(name, outcome)
        self.bus.emit(
            TrialEnded(
                t=self.bus.clock(), trial=name, outcome=outcome, reason=reason, code=ReasonCode.DUPLICATE
            )
        )

    @property
    def all_asked(self) -> bool:
        """Whether no new trial will come."""
        return self.exhausted or len(self.record.trials) >= self.sweep.trials

    def check_limits(self) -> None:
        """Request a stop if the study's goal is reached, a limit is exceeded, or the journal is gone."""
        self.bus.check()
        self._check_goal()
        if self.stop.requested:
            return
        failed = self.record.failures - self._failed_before
        if self._deadline is not None and self.bus.clock() > self._deadline:
            finished = any(trial.outcome == "completed" for trial in self.record.trials.values())
            self._exit_code = ExitCode.DONE if finished else ExitCode.OUT_OF_TIME
            reason = f"time budget of {self.sweep.time_budget_s:g} s used up"
            self.stop.request(reason, ReasonCode.TIME_BUDGET)
        elif self.sweep.max_failures is not None and failed > self.sweep.max_failures:
            self._exit_code = ExitCode.FAILURE_LIMIT
            reason = f"{failed} trials failed, max_failures is {self.sweep.max_failures}"
            self.stop.request(reason, ReasonCode.MAX_FAILURES)
        elif failed >= MAX_REPEATED and failed != self._repeated_checked_at_failures:
            self._repeated_checked_at_failures = failed
            self._check_repeated()

    def check_placed(self, running: bool, describe_machines: Callable[[], str] = str) -> None:
        """Request a stop if no trial could run for `stall_timeout_s`.

        Args:
            running: whether any trial runs now.
            describe_machines: says which machines there are.
        """
        now = self.bus.clock()
        if running or self._placed_at is None:
            self._placed_at = now
        elif now - self._placed_at > self.sweep.stall_timeout_s and not self.stop.requested:
            asked, self._exit_code = self.sweep.resources_per_trial, ExitCode.UNREACHABLE
            gpu = "a GPU where there are any" if asked.gpu is None else f"{asked.gpu:g} GPU"
            self.stop.request(
                f"no trial could be placed for {now - self._placed_at:.0f} s (stall_timeout_s): each asks "
                f"for {asked.cpu:g} CPU and {gpu}; {describe_machines()}; `ray status` shows what is in use, "
                "and why an autoscaler adds no nodes (a quota, no spot machine); lower what a trial asks "
                "for, or `resume` when there is room",
                ReasonCode.NOT_PLACED,
            )

    def refuse(self, reasons: tuple[str, ...]) -> None:
        """Request a stop, because a process has found that no trial can succeed."""
        self.unfit, self._exit_code = reasons, ExitCode.PREFLIGHT
        self.stop.request(f"not fit to run: {'; '.join(reasons)}", ReasonCode.NOT_FIT)

    def _check_repeated(self) -> None:
        """Request a stop if the last trials failed with the same error."""
        error = repeated_error(self.record, self._begun_at)
        if error:
            self._exit_code = ExitCode.FAILURE_LIMIT
            reason = f"the same error in {MAX_REPEATED} trials in a row: {error}"
            self.stop.request(reason, ReasonCode.REPEATED_ERROR)

    def _check_goal(self, prefix: str = "") -> None:
        """Request a stop if the sweep's own `stop` is reached; checked once for each new epoch."""
        if self.stop.requested or self._goal_checked_at_epochs == self.record.epochs:
            return
        self._goal_checked_at_epochs = self.record.epochs
        goal = describe_reached_goal(self.sweep, self.record)
        if goal:
            self.goal_reached, self._exit_code = True, ExitCode.DONE
            self.stop.request(prefix + goal, ReasonCode.STUDY_GOAL)

    def share_after_oom(self, trial: str) -> Mapping[str, float] | None:
        """Resources for the second run of a trial that ran out of memory; None if it gets no second run."""
        return None if self.record.trials[trial].resources else self.plan.oom_resources

    def no_retry_reason(self, trial: str) -> str:
        """Why a trial that ran out of memory is not run again."""
        resources = self.record.trials[trial].resources
        if resources:
            return f"also with {', '.join(f'{key} {value:g}' for key, value in resources.items())}"
        return "set resources_per_trial.on_oom to run such a trial once more with more resources"

    def keep_best(self) -> None:
        """Write best.yaml if the best trial or its value has changed."""
        best = self.record.best()
        if best is None:
            return
        current = (best.trial, best.objective_loss(self.record.objective))
        if current != self._best_written:
            with suppress(OSError):  # a full disk: tried again later, since the journal has all of it
                write_best(self.folder.best_file, self.sweep, self.record, self.plan.provenance)
                self._best_written = current

    def close(self) -> Finish:
        """End the attempt and close the journal; if the study's goal is reached, unfinished trials end."""
        for trial in self.record.unfinished() if self.goal_reached else ():
            self.rule.end(trial.trial, "stopped")
            self.bus.emit(
                TrialEnded(
                    t=self.bus.clock(),
                    trial=trial.trial,
                    outcome="stopped",
                    reason=f"the study ended: {self.stop.reason}",
                    code=ReasonCode.STUDY_GOAL,
                )
            )
        self.keep_best()
        exit_code, reason, code = self._ending()
        self.bus.emit(
            AttemptEnded(
                t=self.bus.clock(), attempt=self.attempt, exit_code=exit_code, reason=reason, code=code
            )
        )
        self.bus.close()
        if self.bus.broken:
            exit_code, reason, code = self._ending()
        return Finish(exit_code, reason, self.record, unfit=self.unfit, code=code)

    def _ending(self) -> tuple[int, str, ReasonCode]:
        """Exit code, reason and its code."""
        if self.bus.broken:
            return ExitCode.INTERRUPTED, self.bus.broken, ReasonCode.JOURNAL_LOST
        if self.stop.requested:
            return self._exit_code, self.stop.reason, self.stop.code
        if self.record.unfinished():
            return ExitCode.INTERNAL, "Ray ended the run before every trial had ended", ReasonCode.RAY_ENDED
        if self.record.best() is not None:
            return ExitCode.DONE, "all trials ended", ReasonCode.ALL_ENDED
        return ExitCode.NO_RESULT, "no trial succeeded", ReasonCode.NOTHING_SUCCEEDED

    def restore_point(self, trial: TrialRecord) -> str | None:
        """The checkpoint that a trial continues from: its newest, or that of the donor it is to copy."""
        own = trial.latest_checkpoint()
        if own is not None:
            return self.folder.locate(own[1])
        if trial.lineage:
            return self.find_checkpoint(trial.lineage[-1].donor, trial.lineage[-1].epoch)
        return None

    def find_checkpoint(self, trial: str, epoch: int) -> str | None:
        """A trial's checkpoint at `epoch`; None if it does not exist."""
        path = self.record.trials[trial].checkpoint_at(epoch)
        return self.folder.locate(path) if path is not None else None
