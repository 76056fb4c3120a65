"""Runs a study on Ray Tune; `run`, `resume` and `extend` all use `run_tuner`.

The journal is folded; then a new Tuner under `ray/attempt-N` gets the study's unfinished trials (with the
same ids, from their last intact checkpoints), and after them new ones. `Tuner.restore` is never called: see
docs/decisions/0001. `ray_search` gives Ray its trials, `ray_callbacks` is told what happens to them.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from raysweep.study.execution.controller import Finish, StudyController
from raysweep.study.execution.extend import earlier_sweeps, journal_revisions
from raysweep.study.execution.kernel_kills import KernelKills
from raysweep.study.execution.ray_callbacks import StudyStopper, TrialCallbacks
from raysweep.study.execution.ray_search import RaySearch
from raysweep.study.execution.run_plan import RunPlan
from raysweep.study.execution.scheduler_factory import make_scheduler
from raysweep.study.execution.searcher_factory import (
    export_to_file,
    first_slots,
    live_export,
    make_searcher,
)
from raysweep.study.execution.shutdown import StopSignal
from raysweep.study.execution.slot_follower import SlotFollower
from raysweep.study.execution.trial_events import TrialEventEmitter
from raysweep.study.execution.trial_timeouts import Watchdog
from raysweep.study.execution.warm_start import load_warm_start
from raysweep.study.journal.constraints import broken_constraint
from raysweep.study.journal.event_bus import EventBus, rebuild
from raysweep.study.journal.events import Subscriber
from raysweep.study.journal.failures import ErrorFiles
from raysweep.study.journal.log import Journal, read_events
from raysweep.study.journal.records import StudyRecord
from raysweep.study.journal.status_file import StatusFile
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.locations import checkpoint_lookup, discard
from raysweep.study.storage.lock import writing_to
from schedulers.tune.adapter import RuleScheduler
from schedulers.tune.lane_hosts import LanePlan
from schedulers.tune.lane_manager import LaneManager
from schedulers.tune.ray_private import without_callback_tags
from trainables.tune import TorchLaneHost, TorchTrainable

AHEAD_S = 0.5
"""How long a trial may train on while its rule has nothing to decide."""


class NoReport(tune.ProgressReporter):  # type: ignore[misc]  # Ray is untyped
    """Shows nothing: Ray's own reporter would clear the notebook cell that shows ours."""

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """False."""
        return False

    def report(self, trials: list[Trial], done: bool, *sys_info: dict[str, Any]) -> None:
        """Do nothing."""


def run_tuner(
    plan: RunPlan,
    *,
    stop: StopSignal,
    subscribers: Sequence[Subscriber] = (),
    discard: Callable[[str | Path], None] = discard,
    signals: AbstractContextManager[Any] | None = None,
    clock: Callable[[], float] = time.time,
    say: Callable[[str], None] = lambda _: None,
) -> Finish:
    """Run the trials of a study that have not ended. Ray must be up, and the caller hold the study's lock.

    Args:
        plan: of the attempt.
        stop: when requested, running epochs are finished, checkpointed and paused.
        subscribers: called with every event after it is on disk (tracking, view).
        discard: deletes an unneeded checkpoint, now or later.
        signals: entered around the run, after Ray is up.
        clock: unix seconds.
        say: called with each line that the user should see at once.

    Raises:
        JournalError: if the study's journal cannot be read.
        CannotWrite: if the journal cannot be written.
    """
    sweep, folder = plan.sweep, plan.folder
    past = list(read_events(folder.journal_dir))
    new_events = journal_revisions(folder, sweep, past, make_scheduler(sweep).rule, clock())
    past += new_events
    record = StudyRecord(sweep.objective)
    scheduler = make_scheduler(sweep)
    warm_start = load_warm_start(sweep, folder, fresh=not past)
    searcher = make_searcher(sweep, warm_start, first_slots(past, plan.slots))
    earlier = [make_scheduler(before).rule for before in earlier_sweeps(folder, sweep)]
    rebuild(past, record, scheduler.rule, searcher, earlier=earlier)
    _forget_lost_checkpoints(record, folder)
    status = StatusFile(folder, record, sweep.metric, sweep.sign, sweep.metrics)
    with writing_to(folder.path):
        journal = Journal(folder.journal_dir, folder.name)
    bus = EventBus(
        journal,
        record,
        searcher,
        [status, ErrorFiles(folder), *subscribers],
        clock,
        on_broken=stop.request,
    )
    controller = StudyController(plan, bus, scheduler.rule, searcher, stop, discard=discard)
    for event in new_events:
        for subscriber in subscribers:
            subscriber(event)
    with live_export(searcher, sweep, say) as lacking:
        controller.begin()
        try:
            if not stop.requested:
                follower = SlotFollower(plan.slot_counter, plan.slots, controller.wanted(0))
                with signals or nullcontext(), follower:
                    controller.change_slots(follower.now)
                    _fit(controller, scheduler, follower)
        finally:
            finish = controller.close()
            notes = export_to_file(searcher, sweep, folder.optuna_file)
    return dataclasses.replace(finish, notes=(*notes, *lacking))


def _forget_lost_checkpoints(record: StudyRecord, folder: StudyFolder) -> None:
    """Remove deleted checkpoints from the record; their deletion is not in the journal."""
    exists = checkpoint_lookup(folder)
    for trial in record.trials.values():
        for key in [key for key, path in trial.checkpoints.items() if not exists(path)]:
            del trial.checkpoints[key]


def _fit(controller: StudyController, scheduler: RuleScheduler, follower: SlotFollower) -> None:
    """Run `Tuner.fit` once."""
    search, emitter = RaySearch(controller, scheduler.retries), TrialEventEmitter(controller)
    watchdog = Watchdog(controller.sweep.trial_timeout_s, tolerance_s=AHEAD_S)
    scheduler.retries.share, scheduler.retries.starved = controller.share_after_oom, KernelKills().any_new
    plan = controller.plan
    optional = {"data": plan.data, "first": plan.first_step}
    parameters = {key: value for key, value in optional.items() if value is not None}
    trainable = tune.with_parameters(TorchTrainable, **parameters) if parameters else TorchTrainable
    lanes = _lane_manager(plan, trainable) if plan.lanes > 1 else None
    scheduler.attach(
        lanes=lanes,
        listener=emitter,
        find_checkpoint=controller.find_checkpoint,
        slots=plan.slots,
        slots_now=lambda: controller.slots,
        more_trials=lambda: bool(controller.to_resume) or not controller.all_asked,
        halting=lambda: controller.stop.requested,
        repeats=True,
        ahead_s=0.0 if controller.sweep.constraints else AHEAD_S,  # a constraint can be broken at any epoch
        objection=lambda result: broken_constraint(controller.sweep.constraints, result),
        lost_for_good=emitter.lost_for_good,
    )
    stopper = StudyStopper(controller, search, emitter, watchdog, follower, lanes)
    search.on_idle = stopper.check
    tuner = tune.Tuner(
        tune.with_resources(trainable, dict(plan.resources)),
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=scheduler,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=f"attempt-{controller.attempt}",
            storage_path=controller.folder.ray_dir,
            stop=stopper,
            callbacks=[TrialCallbacks(controller, watchdog)],
            verbose=0,
            progress_reporter=NoReport(),
            failure_config=tune.FailureConfig(max_failures=-1),  # lost workers; bounded by TrialCallbacks
            checkpoint_config=tune.CheckpointConfig(num_to_keep=None, checkpoint_at_end=False),
        ),
    )
    # With more pending trials than slots, one would get the freed actor of another and leave a slot idle.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(plan.slots)
    # Ray's snapshot of the experiment is never read, so it is not written, and its warnings are hidden.
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "86400"
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # ours finishes running epochs first
    with without_callback_tags():
        tuner.fit()


def _lane_manager(plan: RunPlan, trainable: type[TorchTrainable]) -> LaneManager:
    """The actor manager that runs several trials of a plan in each process."""
    actor = ray.remote(TorchLaneHost)

    def start(resources: Mapping[str, float]) -> Any:
        cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
        return actor.options(num_cpus=cpus, num_gpus=gpus).remote(trainable)

    share = {kind.upper(): amount for kind, amount in plan.resources.items() if amount > 0}
    return LaneManager(LanePlan(start, share, plan.lanes, plan.slots))


def _trial_name(trial: Trial) -> str:
    return str(trial.trial_id)
