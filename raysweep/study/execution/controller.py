"""A study at work, without Ray: what is handed over next, when to stop, how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from raysweep.config import Sweep
from raysweep.errors import ExitCode
from raysweep.study.execution.checkpoint_gc import CheckpointJanitor
from raysweep.study.execution.run_plan import RunPlan
from raysweep.study.execution.shutdown import StopSignal
from raysweep.study.execution.slot_follower import SlotCount
from raysweep.study.execution.stop_conditions import reached
from raysweep.study.journal.event_bus import EventBus, SearchObserver
from raysweep.study.journal.events import (
    AttemptEnded,
    AttemptStarted,
    EpochReported,
    SlotsChanged,
    Source,
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


class ProposedTrial(Protocol):
    """What a searcher proposes; `raysweep.search.initial_points.Proposal` is one."""

    @property
    def config(self) -> dict[str, Any]:
        """Flat."""

    @property
    def source(self) -> Source:
        """Where it comes from."""

    @property
    def draws(self) -> int:
        """How often the sampler was asked."""

    @property
    def same_as(self) -> str:
        """An ended trial whose result is to be taken; empty where it is to be run."""


class Searcher(SearchObserver, Protocol):
    """What proposes configurations; `raysweep.search.optuna_searcher.OptunaSearcher` is one."""

    def ready(self, number: int) -> bool:
        """Whether trial `number` can be asked for now, or only when more is known."""

    def ask(self, number: int) -> ProposedTrial | None:
        """What to try as trial `number`; None when nothing is left to try."""


@dataclass(frozen=True, slots=True)
class Finish:
    """How an attempt ended: the exit code of the command, why, and what is known now.

    Attributes:
        notes: what else the user should know.
        unfit: why no trial could have gone well, a line each.
        code: the kind of the reason.
    """

    exit_code: int
    reason: str
    record: StudyRecord
    notes: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    code: ReasonCode = ReasonCode.ALL_ENDED


@dataclass
class StudyController:
    """What the adapters to Ray share: the study's record and event bus, and what is still to hand over.

    Attributes:
        discard: deletes a checkpoint, now or later.
        again: unfinished trials of earlier attempts, not yet handed to Ray.
        exhausted: the searcher has nothing left to try.
        unfit: why no trial could have gone well, as the first process to try said.
        over: the study has come as far as its sweep's `stop` asks for; what is unfinished then ends.
        slots: trials at once, now.
    """

    plan: RunPlan
    bus: EventBus
    rule: Rule
    searcher: Searcher
    stop: StopSignal
    attempt: int = 0
    discard: Callable[[str | Path], None] = discard
    again: list[TrialRecord] = field(default_factory=list)
    exhausted: bool = False
    unfit: tuple[str, ...] = ()
    over: bool = False
    slots: int = field(init=False)
    _exit_code: int = ExitCode.INTERRUPTED
    _deadline: float | None = None
    _placed_at: float | None = None
    _checked: int = -1
    _begun_at: float = 0.0
    _failed_before: int = 0
    _failed_looked_at: int = 0
    _best_written: tuple[str, float | None] | None = None

    def __post_init__(self) -> None:
        wish = self.sweep.run.checkpoint_config
        self.keeper = CheckpointJanitor(
            self.record,
            self.folder.locate,
            self.rule.is_exploit_source,
            wish.keep_last_k,
            discard=self.discard,
        )
        if wish.enabled and wish.save_best:
            self.keeper.monitor, self.keeper.sign = wish.monitor, wish.sign
        self.keeper.keep_completed = wish.enabled
        self.slots = self.plan.slots

    @property
    def sweep(self) -> Sweep:
        """What runs."""
        return self.plan.sweep

    @property
    def folder(self) -> StudyFolder:
        """Where it is kept."""
        return self.plan.folder

    @property
    def record(self) -> StudyRecord:
        """The fold of all events so far."""
        return self.bus.record

    def begin(self) -> None:
        """Open the attempt, and line up the trials that earlier attempts left unfinished.

        Of a study that is over already, `stop` is raised at once.
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
        self.keeper.catch_up(self.folder.path)
        if self.sweep.time_budget_s is not None:
            self._deadline = now + self.sweep.time_budget_s
        # What failed in earlier attempts the user has seen, and resumed all the same.
        self._begun_at, self._failed_before = now, self.record.failures
        # Paused ones first: they take no slot, and the rule must see them all before it promotes one.
        self.again = sorted(
            self.record.unfinished(), key=lambda trial: (trial.status != "paused", trial.number)
        )
        self._check_goal("done already: ")

    def change_slots(self, count: SlotCount) -> None:
        """Let so many trials run at once from here on: nodes, or other studies, came or went."""
        if count.slots != self.slots:
            self.slots = count.slots
            self.bus.emit(SlotsChanged(t=self.bus.clock(), slots=count.slots, reason=count.reason))

    def wanted(self, busy: int) -> int:
        """Trials that could run at once: all that have not ended, and of paused ones alone one more than now.

        Args:
            busy: trials that run now, or wait for a process.
        """
        if self.again or not self.all_asked:
            ended = sum(trial.outcome is not None for trial in self.record.trials.values())
            return max(self.sweep.trials - ended, busy)
        return busy + (len(self.record.unfinished()) > busy)

    def ask(self) -> tuple[str, dict[str, Any]] | None:
        """A new trial's id and its searched values; None when none is due, wanted or to be found."""
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
        """End a trial as an earlier one of the same configuration did, without running it."""
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
        """Raise `stop` when the study has come far enough, a budget is used up, or the journal is gone."""
        self.bus.check()
        self._check_goal()
        if self.stop.requested:
            return
        failed = self.record.failures - self._failed_before
        if self._deadline is not None and self.bus.clock() > self._deadline:
            finished = any(trial.outcome == "completed" for trial in self.record.trials.values())
            self._exit_code = ExitCode.DONE if finished else ExitCode.OUT_OF_TIME
            used_up = f"time budget of {self.sweep.time_budget_s:g} s used up"
            self.stop.request(used_up, ReasonCode.TIME_BUDGET)
        elif self.sweep.max_failures is not None and failed > self.sweep.max_failures:
            self._exit_code = ExitCode.FAILURE_LIMIT
            too_many = f"{failed} trials failed, max_failures is {self.sweep.max_failures}"
            self.stop.request(too_many, ReasonCode.MAX_FAILURES)
        elif failed >= MAX_REPEATED and failed != self._failed_looked_at:
            self._failed_looked_at = failed
            self._check_repeated()

    def check_placed(self, running: bool, there: Callable[[], str] = str) -> None:
        """Raise `stop` if no trial has had a place to run for `stall_timeout_s`.

        Args:
            running: whether any trial runs now.
            there: says what machines there are.
        """
        now = self.bus.clock()
        if running or self._placed_at is None:
            self._placed_at = now
        elif now - self._placed_at > self.sweep.stall_timeout_s and not self.stop.requested:
            asked, self._exit_code = self.sweep.resources_per_trial, ExitCode.UNREACHABLE
            gpu = "a GPU where there are any" if asked.gpu is None else f"{asked.gpu:g} GPU"
            self.stop.request(
                f"no trial could be placed for {now - self._placed_at:.0f} s (stall_timeout_s): each asks "
                f"for {asked.cpu:g} CPU and {gpu}; {there()}; `ray status` says who holds what, and why an "
                "autoscaler's nodes do not come (a quota, no spot machine); lower what a trial asks for, or "
                "`resume` when there is room",
                ReasonCode.NOT_PLACED,
            )

    def refuse(self, reasons: tuple[str, ...]) -> None:
        """Raise `stop`, for a process has found that no trial can go well."""
        self.unfit, self._exit_code = reasons, ExitCode.PREFLIGHT
        self.stop.request(f"not fit to run: {'; '.join(reasons)}", ReasonCode.NOT_FIT)

    def _check_repeated(self) -> None:
        """Raise `stop` if the same error ended the last trials one after the other."""
        error = repeated_error(self.record, self._begun_at)
        if error:
            self._exit_code = ExitCode.FAILURE_LIMIT
            same = f"the same error in {MAX_REPEATED} trials running: {error}"
            self.stop.request(same, ReasonCode.REPEATED_ERROR)

    def _check_goal(self, word: str = "") -> None:
        """Raise `stop` if the sweep's own `stop` is reached; only an epoch more can change that."""
        if self.stop.requested or self._checked == self.record.epochs:
            return
        self._checked = self.record.epochs
        goal = reached(self.sweep, self.record)
        if goal:
            self.over, self._exit_code = True, ExitCode.DONE
            self.stop.request(word + goal, ReasonCode.STUDY_GOAL)

    def share_after_oom(self, trial: str) -> Mapping[str, float] | None:
        """What a trial that ran out of memory gets in its second run; None if there is none for it."""
        return None if self.record.trials[trial].resources else self.plan.oom_resources

    def why_no_more(self, trial: str) -> str:
        """Why a trial that ran out of memory is not run again, for its reason."""
        had = self.record.trials[trial].resources
        if had:
            return f"again so with {', '.join(f'{key} {value:g}' for key, value in had.items())}"
        return "resources_per_trial.on_oom would run it once more with a larger share"

    def keep_best(self) -> None:
        """Rewrite best.yaml if there is a new incumbent."""
        best = self.record.best()
        if best is None:
            return
        now = (best.trial, best.worth(self.record.objective))
        if now != self._best_written:
            with suppress(OSError):  # a full disk: it is derived from the journal, and tried again
                write_best(self.folder.best_file, self.sweep, self.record, self.plan.provenance)
                self._best_written = now

    def close(self) -> Finish:
        """Say how the attempt ended, and close the journal; a study that is over leaves nothing to resume."""
        for trial in self.record.unfinished() if self.over else ():
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
        exit_code, reason, code = self._verdict()
        self.bus.emit(
            AttemptEnded(
                t=self.bus.clock(), attempt=self.attempt, exit_code=exit_code, reason=reason, code=code
            )
        )
        self.bus.close()
        if self.bus.broken:
            exit_code, reason, code = self._verdict()
        return Finish(exit_code, reason, self.record, unfit=self.unfit, code=code)

    def _verdict(self) -> tuple[int, str, ReasonCode]:
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
        """Where a trial goes on from: its newest checkpoint, or the donor's that it was sent to copy."""
        own = trial.latest_checkpoint()
        if own is not None:
            return self.folder.locate(own[1])
        if trial.lineage:
            return self.find_checkpoint(trial.lineage[-1].donor, trial.lineage[-1].epoch)
        return None

    def find_checkpoint(self, trial: str, epoch: int) -> str | None:
        """A trial's checkpoint at `epoch`, if it stands."""
        path = self.record.trials[trial].checkpoint_at(epoch)
        return self.folder.locate(path) if path is not None else None
