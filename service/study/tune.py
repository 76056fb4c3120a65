"""A sweep on Ray Tune. `conduct` is the one path of run, resume and extend.

The journal is folded; then a new Tuner under `ray/attempt-N` is given the study's unfinished trials
(same ids, from their last good checkpoints) and after them new ones. `Tuner.restore` is never called:
see docs/decisions/0001.

The private names of Ray that this file leans on are listed in `PRIVATE` with the signatures seen in
2.60.0; tests/study/test_ray_private.py holds them against the Ray that is installed.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
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
from ray.tune.experiment.config_parser import _create_trial_from_spec, _make_parser
from ray.tune.search.search_algorithm import SearchAlgorithm
from ray.tune.stopper import Stopper

from schedulers.ray_private import last_error, start_at
from schedulers.retry import Retries
from schedulers.tune import RuleScheduler
from service.spec import Sweep
from service.study.code import code_fingerprint
from service.study.constraints import broken
from service.study.desk import Desk, Finish
from service.study.events import Checkpointed, Recovered, Started, Subscriber
from service.study.extend import catch_up, earlier_sweeps
from service.study.failures import ErrorFiles
from service.study.fallback import fall_back
from service.study.folder import StudyFolder
from service.study.journal import Journal, read_events
from service.study.lock import writing_to
from service.study.memory import KernelKills
from service.study.narrator import WORKERS_LOST_WITHOUT_PROGRESS, Narrator
from service.study.places import discard, standing
from service.study.record import StudyRecord, TrialRecord
from service.study.searcher import export_study, first_slots, make_searcher
from service.study.status import StatusFile
from service.study.stop import StopSignal
from service.study.stream import Stream, rebuild
from service.study.warm import kept
from service.study.watchdog import Watchdog
from trainables.intact import DAMAGED
from trainables.tune import TorchTrainable
from trainables.unfit import unfit_reasons

# name -> parameters, as in Ray 2.60.0
PRIVATE: Mapping[Callable[..., Any], tuple[str, ...]] = {
    _create_trial_from_spec: ("spec", "parser", "trial_kwargs"),
    _make_parser: ("parser_creator", "kwargs"),
}
STOP_GRACE_S = 10.0  # how long running epochs may take to end once the sweep is asked to stop


def conduct(
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
    searcher = make_searcher(sweep, kept(sweep, folder, fresh=not past), first_slots(past, slots))
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
    stream = Stream(
        journal,
        record,
        searcher,
        [status, ErrorFiles(folder), *subscribers],
        clock,
        on_broken=stop.request,
    )
    code = code_fingerprint(folder)
    facts = dict(provenance or {}) | ({"code_fingerprint": code} if code else {})
    desk = Desk(
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
        stream.journal.close()
        notes = export_study(searcher, sweep, folder.optuna_file)
    return dataclasses.replace(finish, notes=notes)


def make_scheduler(sweep: Sweep) -> RuleScheduler:
    """The sweep's trial scheduler; what its constructor asks for and the file does not say is filled in."""
    face = sweep.trial_scheduler.load(sweep.import_paths)
    if getattr(face, "rule_class", None) is None:
        raise TypeError(f"{sweep.trial_scheduler.name} has no rule that could be replayed from the journal")
    offered = {
        "seed": sweep.seed,
        "space": sweep.space,
        "max_resource": sweep.run.epochs,
        "objective": sweep.objective,
        "population_size": sweep.trials,
    }
    known = inspect.signature(face.rule_class).parameters
    context = {key: value for key, value in offered.items() if key in known}
    if "audit_fraction" in sweep.trial_scheduler.kwargs:
        context["audit_seed"] = sweep.seed
    mode = "min" if sweep.direction == "minimize" else "max"
    scheduler: RuleScheduler = face(
        **{**context, **sweep.trial_scheduler.kwargs}, metric=sweep.metric, mode=mode, time_attr="epoch"
    )
    return scheduler


def _fit(
    desk: Desk, scheduler: RuleScheduler, resources: Mapping[str, float], given: Mapping[str, Any]
) -> None:
    """One `Tuner.fit`, from the first trial handed over to the last decision."""
    search, narrator = StudySearch(desk, scheduler.retries), Narrator(desk)
    watchdog = Watchdog(desk.sweep.trial_timeout_s)
    scheduler.retries.share, scheduler.retries.starved = desk.share_after_oom, KernelKills().more
    scheduler.attach(
        listener=narrator,
        find_checkpoint=desk.find_checkpoint,
        slots=desk.slots,
        more_trials=lambda: bool(desk.again) or not desk.all_asked,
        halting=lambda: desk.stop.requested,
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
            stop=Halt(desk, search, narrator, watchdog),
            callbacks=[Hooks(desk, watchdog)],
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


class _NeverPickled:
    """Tuner pickles all it is given, for a restore that we never do; live state stays out of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudySearch(_NeverPickled, SearchAlgorithm):  # type: ignore[misc]  # ray ships no types
    """Gives Ray a study's trials: first those that earlier attempts left unfinished, then new ones.

    Never more than `slots` trials run or wait to run, so a paused trial's promotion never queues
    behind a new one: the controller starts every PENDING trial by itself, asking nobody.
    """

    def __init__(self, desk: Desk, retries: Retries) -> None:
        self.desk, self.retries = desk, retries
        self.live: dict[str, Trial] = {}
        self._spec: dict[str, Any] = {}
        self._parser = _make_parser()
        self._finished = False

    @property
    def total_samples(self) -> int:
        """Trials of the study; Ray prints it."""
        return self.desk.sweep.trials

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Nothing to take: metric and mode are the scheduler's."""
        return True

    def add_configurations(self, experiments: Any) -> None:
        """Keep the experiment's spec: every trial is made from it."""
        first = experiments[0] if isinstance(experiments, list) else experiments
        self._spec = first.spec

    def next_trial(self) -> Trial | None:
        """The next trial to add, or None if none is due now."""
        self.live = {name: trial for name, trial in self.live.items() if not trial.is_finished()}
        if self.desk.stop.requested:
            return None
        if self.desk.again and (self.desk.again[0].status == "paused" or self._has_room()):
            return self._hand_over(self.desk.again.pop(0))
        if self.desk.again or not self._has_room() or self.desk.rule.resume(self._paused()) is not None:
            return None
        asked = self.desk.ask()
        return self._make(*asked) if asked is not None else None

    def is_finished(self) -> bool:
        """True once no trial is left to add and every one given out has ended.

        Not earlier: Ray tears down its cached actors when the search is finished.
        """
        nothing_live = all(trial.is_finished() for trial in self.live.values())
        over = self.desk.stop.requested or (self.desk.all_asked and not self.desk.again)
        return self._finished or (over and nothing_live)

    def busy(self) -> int:
        """Trials that hold a slot or are about to."""
        return sum(trial.status in (Trial.RUNNING, Trial.PENDING) for trial in self.live.values())

    def _has_room(self) -> bool:
        return self.busy() < self.desk.slots

    def _paused(self) -> list[str]:
        return sorted(name for name, trial in self.live.items() if trial.status == Trial.PAUSED)

    def _hand_over(self, record: TrialRecord) -> Trial:
        trial = self._make(record.trial, record.config, self.desk.restore_point(record))
        if record.resources:  # in its second run, or waiting for it
            trial.update_resources(dict(record.resources))
            self.retries.waiting[record.trial] = record.resources
        if record.status == "paused" or record.resources:
            trial.set_status(Trial.PAUSED)
        return trial

    def _make(self, name: str, flat: Mapping[str, Any], checkpoint: str | None = None) -> Trial:
        spec = copy.copy(self._spec)
        spec["config"] = self.desk.trial_config(name, flat)
        far = bool(checkpoint and self.desk.folder.far)
        if checkpoint is not None and not far:
            spec["restore"] = checkpoint
        trial = _create_trial_from_spec(
            spec, self._parser, evaluated_params=dict(flat), experiment_tag=name, trial_id=name
        )
        if far:  # Ray takes what is under `restore` for a path
            start_at(trial, checkpoint)
        trial.init_local_path()  # of one that never starts, too, Ray asks in the end where it lies
        # Ray's averages of each metric and its snapshot of every trial: 50 KB a trial, and nobody reads them.
        trial.run_metadata.update_metric, trial.get_json_state = _no_averages, _no_snapshot
        self.live[name] = trial
        return trial


def _no_averages(metric: str, value: float, step: int | None = 1) -> None:
    pass


def _no_snapshot() -> tuple[str, str]:
    return "{}", "{}"


class Halt(_NeverPickled, Stopper):  # type: ignore[misc]  # ray ships no types
    """Ends the experiment once the sweep was asked to stop and its running epochs are over.

    Trials that end this way are not over: the journal has no end of theirs, and `resume` hands
    them over again.
    """

    def __init__(self, desk: Desk, search: StudySearch, narrator: Narrator, watchdog: Watchdog) -> None:
        self.desk, self.search, self.narrator, self.watchdog = desk, search, narrator, watchdog
        self._since: float | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial is ended here: that is the rule's to decide."""
        return False

    def stop_all(self) -> bool:
        """Whether to end now; asked at every step of the controller."""
        if self.desk.unfit:
            return True
        self._end_the_hung()
        self.desk.check_limits()
        running = any(trial.status == Trial.RUNNING for trial in self.search.live.values())
        self.desk.check_placed(running, _machines)
        if not self.desk.stop.requested:
            return False
        self._since = self._since or time.monotonic()
        return self.search.busy() == 0 or time.monotonic() - self._since > STOP_GRACE_S

    def _end_the_hung(self) -> None:
        """End the processes of trials that say nothing any more; to Ray each is a lost worker, once."""
        known, live = self.desk.record.trials, self.search.live
        running = [
            name
            for name, trial in live.items()
            if trial.status == Trial.RUNNING and known[name].status == "running"
        ]
        for name in self.watchdog.overdue(running):
            reason = f"no epoch in {self.watchdog.limit_s:g} s (trial_timeout_s): it hangs, or it is too slow"
            self.desk.rule.end(name, "failed")
            self.narrator.ended(name, "failed", reason)
            live[name].max_failures = 0
            ray.kill(live[name].temporary_state.ray_actor)


def _machines() -> str:
    """What Ray has now, in words."""
    nodes = sum(node["Alive"] for node in ray.nodes())
    all_, free = ray.cluster_resources(), ray.available_resources()
    counts = (f"{all_.get(kind, 0):g} {kind} ({free.get(kind, 0):g} free)" for kind in ("CPU", "GPU"))
    return f"{nodes} node{'s are' if nodes > 1 else ' is'} up, with {' and '.join(counts)}"


class Hooks(_NeverPickled, tune.Callback):  # type: ignore[misc]  # ray ships no types
    """What only Ray's callbacks know: starts, checkpoints, lost workers."""

    def __init__(self, desk: Desk, watchdog: Watchdog) -> None:
        self.desk, self.watchdog = desk, watchdog

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """The trial lives."""
        self.watchdog.heard(trial.trial_id)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial has a process."""
        self.watchdog.heard(trial.trial_id)
        self._emit(Started, trial, attempt=self.desk.attempt)

    def on_checkpoint(
        self, iteration: int, trials: list[Trial], trial: Trial, checkpoint: Any, **info: Any
    ) -> None:
        """A whole checkpoint stands on disk; the trial has not gone on since."""
        self.watchdog.heard(trial.trial_id)
        record = self.desk.record.trials[trial.trial_id]
        path = self.desk.folder.relative(checkpoint.path)
        epoch = int(trial.last_result["epoch"])
        self._emit(Checkpointed, trial, epoch=epoch, generation=record.generation, path=path)
        self.desk.keeper.sweep(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A worker was lost; not the trial's fault, unless it takes every worker with it."""
        if trial.status == Trial.PAUSED or trial.is_finished():
            return  # it waits for a larger share, or for another's weights; or there were none
        error = last_error(trial) or "worker lost"
        if (reasons := unfit_reasons(error)) and self.desk.record.epochs == 0:
            self.desk.refuse(reasons)
            return
        if DAMAGED in error:
            place, error = fall_back(self.desk.record, self.desk.folder.locate, trial.trial_id)
            start_at(trial, place)
        self._emit(Recovered, trial, error=error)
        losses = self.desk.record.trials[trial.trial_id].losses_of_worker
        if losses >= WORKERS_LOST_WITHOUT_PROGRESS - 1 and not self.desk.rule.replaces:
            trial.max_failures = 0  # the next loss is its end

    def _emit(self, kind: Callable[..., Any], trial: Trial, **fields: Any) -> None:
        self.desk.stream.emit(kind(t=self.desk.stream.clock(), trial=trial.trial_id, **fields))
