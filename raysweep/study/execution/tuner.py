"""A sweep on Ray Tune. `run_tuner` is the one path of run, resume and extend.

The journal is folded; then a new Tuner under `ray/attempt-N` is given the study's unfinished trials
(same ids, from their last good checkpoints) and after them new ones. `Tuner.restore` is never called:
see docs/decisions/0001. `search` gives Ray its trials, `hooks` hears what becomes of them.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from raysweep.config import Sweep
from raysweep.study.execution.controller import Finish, StudyController
from raysweep.study.execution.extend import catch_up, earlier_sweeps
from raysweep.study.execution.kernel_kills import KernelKills
from raysweep.study.execution.ray_callbacks import StudyStopper, TrialCallbacks
from raysweep.study.execution.ray_search import RaySearch
from raysweep.study.execution.searcher_factory import export_study, first_slots, make_searcher
from raysweep.study.execution.shutdown import StopSignal
from raysweep.study.execution.trial_events import TrialEventEmitter
from raysweep.study.execution.trial_timeouts import Watchdog
from raysweep.study.execution.warm_start import load_warm_start
from raysweep.study.journal.constraints import broken
from raysweep.study.journal.event_bus import EventBus, rebuild
from raysweep.study.journal.events import Subscriber
from raysweep.study.journal.failures import ErrorFiles
from raysweep.study.journal.log import Journal, read_events
from raysweep.study.journal.records import StudyRecord
from raysweep.study.journal.status_file import StatusFile
from raysweep.study.storage.code_snapshot import code_fingerprint
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.locations import discard, standing
from raysweep.study.storage.lock import writing_to
from schedulers.rule import Rule
from schedulers.stop_audit import AUDIT_WORDS
from schedulers.tune import RuleScheduler
from trainables.run_config import RunError
from trainables.tune import TorchTrainable


def run_tuner(
    sweep: Sweep,
    folder: StudyFolder,
    *,
    slots: int,
    resources: Mapping[str, float],
    stop: StopSignal,
    subscribers: Sequence[Subscriber] = (),
    on_oom: Mapping[str, float] | None = None,
    discard: Callable[[str | Path], None] = discard,
    data: Any = None,
    first: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    signals: AbstractContextManager[Any] | None = None,
    clock: Callable[[], float] = time.time,
) -> Finish:
    """Run what of the study has not been run; a Ray must be up. The caller holds the study's lock.

    Args:
        sweep: what is wanted now; for a study that exists, the one its folder holds.
        folder: the study; empty for a first run.
        slots: trials at once.
        resources: of one trial, in Ray's words: {"cpu": 1, "gpu": 0.5}.
        on_oom: of a trial that ran out of memory, in its second run; None: it has none.
        stop: raised by a signal; running epochs are then finished, checkpointed and paused.
        subscribers: told every event after it is on disk (tracking, view).
        discard: deletes a checkpoint that nobody needs, now or later.
        data: what the trainable's `setup` takes as `data`; put once into Ray's object store.
        first: a trial's config that each process takes one step of before its first trial; if that does not
            go well before there is an epoch, the study ends there (exit code 3). None: nothing is tried.
        provenance: commit, versions, fingerprint: into the journal and best.yaml.
        signals: entered around the run, after Ray is up.
        clock: wall-clock seconds.

    Raises:
        JournalError: if the study's journal cannot be read.
        CannotWrite: if there is no room for one of this attempt.
    """
    past = list(read_events(folder.journal_dir))
    told = catch_up(folder, sweep, past, make_scheduler(sweep).rule, clock())
    past += told
    record = StudyRecord(sweep.objective)
    scheduler = make_scheduler(sweep)
    searcher = make_searcher(sweep, load_warm_start(sweep, folder, fresh=not past), first_slots(past, slots))
    earlier = [make_scheduler(before).rule for before in earlier_sweeps(folder, sweep)]
    rebuild(past, record, scheduler.rule, searcher, earlier=earlier)
    stands = standing(folder)
    for trial in record.trials.values():  # what was deleted since is not in the journal
        gone = [key for key, path in trial.checkpoints.items() if not stands(path)]
        for key in gone:
            del trial.checkpoints[key]
    status = StatusFile(folder, record, sweep.metric, sweep.sign, sweep.metrics)
    with writing_to(folder.path):
        journal = Journal(folder.journal_dir, folder.name)
    stream = EventBus(
        journal,
        record,
        searcher,
        [status, ErrorFiles(folder), *subscribers],
        clock,
        on_broken=stop.request,
    )
    code = code_fingerprint(folder)
    facts = dict(provenance or {}) | ({"code_fingerprint": code} if code else {})
    desk = StudyController(
        sweep, folder, slots, facts, stream, scheduler.rule, searcher, stop, more=on_oom, discard=discard
    )
    for event in told:
        for subscriber in subscribers:
            subscriber(event)
    desk.begin()
    try:
        if not stop.requested:
            with signals or nullcontext():
                _fit(desk, scheduler, resources, {"data": data, "first": first})
    finally:
        finish = desk.close()
        notes = export_study(searcher, sweep, folder.optuna_file)
    return dataclasses.replace(finish, notes=notes)


def make_scheduler(sweep: Sweep) -> RuleScheduler:
    """The sweep's trial scheduler; what its constructor asks for and the file does not say is filled in.

    Raises:
        RunError: if the file names neither a rule nor a scheduler class with one, or a rule of the
            user's own rejects its settings.
    """
    name, kwargs = sweep.trial_scheduler.name, sweep.trial_scheduler.kwargs
    named = sweep.trial_scheduler.load(sweep.import_paths)
    is_rule = isinstance(named, type) and issubclass(named, Rule)
    rule_class = named if is_rule else getattr(named, "rule_class", None)
    if rule_class is None:
        raise RunError(
            f"trial_scheduler: '{name}' is neither a schedulers.Rule nor one of this project's schedulers, "
            "so a study could not replay it from its journal; use schedulers.ASHA, or write a Rule"
        )
    offered = {
        "seed": sweep.seed,
        "space": sweep.space,
        "max_resource": sweep.run.epochs,
        "objective": sweep.objective,
        "population_size": sweep.trials,
    }
    known = inspect.signature(rule_class).parameters
    settings = {key: value for key, value in offered.items() if key in known} | kwargs
    adapter: dict[str, Any] = {
        "metric": sweep.metric,
        "mode": "min" if sweep.direction == "minimize" else "max",
        "time_attr": "epoch",
    }
    if "audit_fraction" in kwargs:
        settings.setdefault("audit_seed", sweep.seed)
    try:
        if not is_rule:
            scheduler: RuleScheduler = named(**settings, **adapter)
            return scheduler
        adapter |= {word: settings.pop(word) for word in AUDIT_WORDS if word in settings}
        return RuleScheduler(named(**settings), **adapter)
    except (TypeError, ValueError) as error:
        raise RunError(f"trial_scheduler: {name}: {error}") from error


def _fit(
    desk: StudyController, scheduler: RuleScheduler, resources: Mapping[str, float], given: Mapping[str, Any]
) -> None:
    """One `Tuner.fit`, from the first trial handed over to the last decision."""
    search, narrator = RaySearch(desk, scheduler.retries), TrialEventEmitter(desk)
    watchdog = Watchdog(desk.sweep.trial_timeout_s)
    scheduler.retries.share, scheduler.retries.starved = desk.share_after_oom, KernelKills().more
    scheduler.attach(
        listener=narrator,
        find_checkpoint=desk.find_checkpoint,
        slots=desk.slots,
        more_trials=lambda: bool(desk.again) or not desk.all_asked,
        halting=lambda: desk.stop.requested,
        repeats=True,
        objection=lambda result: broken(desk.sweep.constraints, result),
        lost_for_good=narrator.lost_for_good,
    )
    given = {word: value for word, value in given.items() if value is not None}
    trainable = tune.with_parameters(TorchTrainable, **given) if given else TorchTrainable
    tuner = tune.Tuner(
        tune.with_resources(trainable, dict(resources)),
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=scheduler,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=f"attempt-{desk.attempt}",
            storage_path=desk.folder.ray_dir,
            stop=StudyStopper(desk, search, narrator, watchdog),
            callbacks=[TrialCallbacks(desk, watchdog)],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=-1),  # lost workers; bounded in Hooks
            checkpoint_config=tune.CheckpointConfig(num_to_keep=None, checkpoint_at_end=False),
        ),
    )
    # A trial more than the slots can take would be given the freed actor of another and leave a slot idle.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(desk.slots)
    # The snapshot of the experiment is never read: the journal is.
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "86400"
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)  # nor missed
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # ours stops in good order
    tuner.fit()


def _trial_name(trial: Trial) -> str:
    return str(trial.trial_id)
