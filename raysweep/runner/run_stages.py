"""Runs a staged sweep: its stages one after the other on one Ray, each a study of its own."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console

from raysweep.cluster.target import Target
from raysweep.config import Sweep, SweepError
from raysweep.config.stage import LR
from raysweep.console.console import stdout
from raysweep.console.live import watch
from raysweep.console.retrain import standings_table
from raysweep.console.stages import print_stage, print_stages
from raysweep.console.summary import print_places, print_summary
from raysweep.errors import USER_ERRORS, ExitCode, exit_code_of
from raysweep.runner.common import echo_err, study_facts, warn
from raysweep.runner.resolve import load_data_on_cluster, load_study_data, plan_attempt, start_or_attach_ray
from raysweep.runner.run_study import (
    StudyRunner,
    announce_end,
    code_of,
    lock_study,
    print_storage,
    print_tracking,
    tracker_of,
)
from raysweep.runner.stages_parent_run import final_state_of, parent_run_of
from raysweep.study.execution.shutdown import SignalRelay, stopped_by_signals
from raysweep.study.journal.status_file import state_of
from raysweep.study.stages.derive import range_test_sweep
from raysweep.study.stages.state import (
    StageState,
    begin_stage,
    best_of_stages,
    end_stage,
    stage_states,
    write_stage_state,
    write_staged_best,
)
from raysweep.study.stages.status_file import StagesStatusFile, summary
from raysweep.study.stages.time_budget import StagesTimeBudget
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.lock import lock
from raysweep.study.storage.sync import StorageSync
from schedulers.reason import ReasonCode

if TYPE_CHECKING:
    from raysweep.cluster.machine import Machine
    from raysweep.cluster.nodes import Nodes
    from raysweep.console.watch import StudyView


class StagesOutcome(NamedTuple):
    """How the stages, or one of them, ended; `reason` is for people, `code` for programs."""

    exit_code: int
    reason: str
    code: ReasonCode


def run_stages(sweep: Sweep, folder: StudyFolder, target: Target, *, check: bool) -> int:
    """Run the rest of a staged study, one stage after the other, and return the exit code.

    `check`: whether the data and the first step are checked while no stage has an epoch; see `run_study`.
    """
    console = stdout()
    with lock_study(folder) as sync:
        names = ", ".join(stage.name for stage in sweep.stages)
        console.print(f"{sweep.study_name}: {len(sweep.stages)} stages ({names}), {target}", highlight=False)
        outcome = _attempt(sweep, folder, target, console, sync, check)
        print_stages(console, summary(folder, sweep), outcome.exit_code, outcome.reason)
        print_places(console, folder.path, folder.best_file, outcome.exit_code)
    print_storage(console, folder, sync)
    announce_end(sweep, folder)
    return outcome.exit_code


def _attempt(
    sweep: Sweep, folder: StudyFolder, target: Target, console: Console, sync: StorageSync | None, check: bool
) -> StagesOutcome:
    """Make one attempt at the stages, and write to the study's status how it ended."""
    status = StagesStatusFile(folder, sweep)
    status.write("running")
    outcome = StagesOutcome(ExitCode.INTERNAL, "ended by an internal error", ReasonCode.FAILED)
    try:
        with start_or_attach_ray(target) as machine:
            stages = StagesRunner(sweep, folder, target, machine, console, status, sync, check)
            with stopped_by_signals(stages.relay, stages.say):
                outcome = stages.run()
    except KeyboardInterrupt:
        outcome = StagesOutcome(ExitCode.INTERRUPTED, "aborted", ReasonCode.STOP_REQUESTED)
        raise
    except USER_ERRORS as error:
        reason = str(error).partition("\n")[0]
        outcome = StagesOutcome(exit_code_of(error), reason, ReasonCode.FAILED)
        raise
    finally:
        status.write(state_of(outcome.exit_code), **outcome._asdict())
    return outcome


@dataclass
class StagesRunner:
    """Runs the stages of one attempt.

    Attributes:
        sync: to the study's storage, if it has one.
        check: whether the data and the first step are checked before the first epoch.
        relay: asks the running stage to stop.
        budget: of the sweep's time.
        view: of the running stage.
    """

    sweep: Sweep
    study: StudyFolder
    target: Target
    machine: Machine | Nodes
    console: Console
    status: StagesStatusFile
    sync: StorageSync | None
    check: bool
    relay: SignalRelay = field(default_factory=SignalRelay)
    budget: StagesTimeBudget = field(default_factory=StagesTimeBudget)
    view: StudyView | None = None

    def run(self) -> StagesOutcome:
        """Run every stage that is not over."""
        self.budget = StagesTimeBudget.of(self.sweep, time.time())
        count = len(self.sweep.stages)
        for number, part in enumerate(stage_states(self.study), start=1):
            if part.over:
                continue
            if self.relay.requested:
                return self._stopped()
            if self.budget.is_up(time.time()):
                return self._out_of_time(part)
            self.console.print()
            self.console.rule(f"stage {number} of {count}: {part.stage.name}", align="left")
            outcome = self._test_rates(part) if part.stage.kind == "lr_range" else self._train(part)
            write_staged_best(self.study)
            if self.budget.cut_short(outcome.code, time.time()):
                return self._out_of_time(part)
            if outcome.exit_code != 0:
                return outcome
        return StagesOutcome(ExitCode.DONE, "all stages ended", ReasonCode.ALL_ENDED)

    def _stopped(self) -> StagesOutcome:
        return StagesOutcome(ExitCode.INTERRUPTED, self.relay.reason, self.relay.code)

    def say(self, line: str) -> None:
        """Show a line to the user, in the view if there is one."""
        echo_err(line) if self.view is None else self.view.say(line)

    def _out_of_time(self, part: StageState) -> StagesOutcome:
        best = best_of_stages(self.sweep, stage_states(self.study))
        finished = best is not None and (best.trial is None or best.trial.outcome == "completed")
        reason = f"time budget of {self.sweep.time_budget_s:g} s used up in stage {part.stage.name}"
        code = ExitCode.DONE if finished else ExitCode.OUT_OF_TIME
        return StagesOutcome(code, reason, ReasonCode.TIME_BUDGET)

    def _train(self, part: StageState) -> StagesOutcome:
        """Run a stage that is a study of its own."""
        part = begin_stage(self.study, self.sweep, part, time.time)
        print_stage(self.console, part.facts["lines"])
        folder = part.folder
        sweep = self.budget.share(folder.sweep(), time.time())
        with lock(folder.lock_file, shlex.join(sys.argv)):
            past = part.record()
            tracker = tracker_of(sweep, folder, parent_run_of(self.study, self.sweep, part))
            tracker.start()
            check = self.check and not any(each.record().epochs for each in self._trained())
            with tracker.kill_on_error():
                load = load_study_data if self.target.kind == "here" else load_data_on_cluster
                data = load(sweep, folder, past, check=check)
                plan = plan_attempt(sweep, folder, self.machine, data, check=check)
            facts = replace(study_facts(sweep), baseline=self._baseline(part))
            self.view = view = watch(facts, past, self.console)
            finish = StudyRunner(plan, view, self.sync).run(self.relay.next(), [self.status])
            self.view = None
            code_of(finish)
            if finish.exit_code == 0 and not self.budget.cut_short(finish.code, time.time()):
                part = end_stage(part, finish.reason, time.time())
            tracker.finish(final_state=final_state_of(self.study, self.sweep, part))
            print_summary(
                self.console, view.facts, finish.record, view.progress(), finish.exit_code, finish.reason
            )
            if "verdict" in part.facts:
                self.console.print(standings_table(sweep.metric, part.standings))
            warn(finish.notes)
            print_tracking(self.console, tracker)
        return StagesOutcome(finish.exit_code, finish.reason, finish.code)

    def _trained(self) -> list[StageState]:
        return [each for each in stage_states(self.study) if each.trains]

    def _baseline(self, part: StageState) -> str:
        """What a stage's baseline is, in words: the run itself, or the best of the stages before it."""
        first = next(stage for stage in self.sweep.stages if stage.searches)
        as_it_is = part.stage == first or part.stage.kind == "validate"
        return "the run as it is" if as_it_is else "the best of the stages before it"

    def _test_rates(self, part: StageState) -> StagesOutcome:
        """Run a range test on a worker, and write its result to the stage's state."""
        from raysweep.cluster.run_on_worker import run_on_worker
        from raysweep.preflight.lr_range import RangeTest, plot, run_range_test

        index = [stage.name for stage in self.sweep.stages].index(part.stage.name)
        past = [each.result() for each in stage_states(self.study)[:index]]
        part = write_stage_state(part, begun_at=part.facts.get("begun_at", time.time()))
        resources, rate = self.sweep.resources_per_trial, self.sweep.space[LR]
        stop = self.relay.next()
        test = run_on_worker(
            run_range_test,
            range_test_sweep(self.sweep, part.stage, past),
            f"stage {part.stage.name}",
            low=getattr(rate, "low", 0.0),
            high=getattr(rate, "high", 0.0),
            seeds=part.stage.seeds,
            cpu=resources.cpu,
            gpu=self.machine.gpu_share(resources.gpu),
            stopped=lambda: stop.requested,
        )
        if test is None:
            return self._stopped()
        if not isinstance(test, RangeTest):
            raise SweepError(test)
        lines = test.verdict()[:2]
        print_stage(self.console, [*plot(test), *lines])
        rates = [*test.bounds, test.steepest]
        part = write_stage_state(part, rates=rates, lines=lines, test=test.as_json())
        end_stage(part, lines[0], time.time())
        return StagesOutcome(ExitCode.DONE, lines[0], ReasonCode.ALL_ENDED)
