"""A sweep carried out: the rooms wired together, from the lock to the last line."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from raysweep.cluster.end_notification import announce
from raysweep.cluster.machine import Machine
from raysweep.cluster.target import Target
from raysweep.config import Sweep
from raysweep.console.console import stdout
from raysweep.console.live import watch
from raysweep.console.rows import print_row
from raysweep.console.summary import first_failed, print_places, print_summary
from raysweep.launch_command import launch_command
from raysweep.preflight.check import PreflightFailed
from raysweep.runner.common import CLONE, echo_err, study_facts, warn
from raysweep.study.execution.shutdown import StopSignal, stopped_by_signals
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import StudyRecord, fold
from raysweep.study.journal.status_file import read_status
from raysweep.study.storage.code_snapshot import differences
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.locations import discard
from raysweep.study.storage.lock import lock
from raysweep.study.storage.process_tag import tagged_process_env
from raysweep.study.storage.sync import StorageSync, synced_storage

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from raysweep.cluster.nodes import Nodes
    from raysweep.console.progress import Facts, Progress
    from raysweep.console.watch import StudyView
    from raysweep.study.execution.controller import Finish
    from raysweep.study.journal.events import Subscriber
    from raysweep.tracking import ParentRun, TrackingProcess
    from trainables.data import Data

LAST_S = 20.0  # for MLflow after a sweep


def ray_of(target: Target) -> AbstractContextManager[Machine | Nodes]:
    """The Ray that a sweep runs on: one of our own, or one that is up."""
    if target.kind == "ray":
        from raysweep.cluster.attach import attach_ray

        return attach_ray(target.where, say=click.echo)
    from raysweep.cluster.embedded import embedded_ray

    return embedded_ray()


def run_or_resume(sweep: Sweep, folder: StudyFolder, target: Target, *, looks: bool = True) -> int:
    """Run what of a study has not been run, its stages one by one if it has some; see `run_study`."""
    if not sweep.stages:
        return run_study(sweep, folder, target, looks=looks)
    from raysweep.runner.run_stages import run_stages  # optuna, for the spaces

    return run_stages(sweep, folder, target, looks=looks)


def run_study(sweep: Sweep, folder: StudyFolder, target: Target, *, looks: bool = True) -> int:
    """Run what of the study has not been run, on a Ray of our own or one that is up; the exit code.

    `looks`: at the data and the first step, before there is an epoch; NotFit says that no trial can go well.
    """
    console = stdout()
    with lock_study(folder) as courier:
        trials = f"{sweep.trials} trials of at most {sweep.run.epochs} epochs"
        console.print(f"{sweep.study_name}: {trials}, {target}", highlight=False)
        past = fold(read_events(folder.journal_dir), sweep.objective)
        tracker, looks = tracker_of(sweep, folder), looks and past.epochs == 0
        tracker.start()  # before Ray: it imports mlflow in a process of its own, on a core still idle
        view = watch(study_facts(sweep), past, console)
        with tracker.or_nothing():  # here before Ray: they may be wrong
            loaded = data_of(sweep, folder, past, looks) if target.kind == "here" else None
        with ray_of(target) as machine:
            with tracker.or_nothing():
                data = loaded or data_on_cluster(sweep, folder, past, looks)
            finish = run_attempt(sweep, folder, machine, data, view, courier, looks, subscribers=[tracker])
            now = view.progress()
        print_end(console, view.facts, folder, finish, now)
        print_tracking(console, tracker)
    print_storage(console, folder, courier)
    announce_end(sweep, folder)
    return code_of(finish)


@contextmanager
def lock_study(folder: StudyFolder) -> Iterator[StorageSync | None]:
    """Be the one that writes to a study, known by its mark; what is written goes to its storage."""
    with (
        lock(folder.lock_file, shlex.join(sys.argv)),
        tagged_process_env(folder.path),
        synced_storage(folder) as courier,
    ):
        yield courier


def code_of(finish: Finish) -> int:
    """The exit code of an attempt.

    Raises:
        NotFit: if a first step showed that no trial can go well.
    """
    if finish.unfit:
        raise PreflightFailed("\n".join(f"preflight: {reason}" for reason in finish.unfit))
    return finish.exit_code


def print_end(console: Console, facts: Facts, folder: StudyFolder, finish: Finish, now: Progress) -> None:
    """Print how it ended, and how to go on; of what was not fit to run, the error says all."""
    if finish.unfit:
        return
    record, code = finish.record, finish.exit_code
    print_summary(console, facts, record, now, code, finish.reason)
    left = now.ended < facts.wanted
    print_places(console, folder.path, folder.best_file, code, failed=first_failed(record), left=left)
    warn(finish.notes)


def print_storage(console: Console, folder: StudyFolder, courier: StorageSync | None) -> None:
    """Print where a study is kept beside its folder, or why that lacks something."""
    if courier is not None:
        print_row(console, "storage", courier.trouble or folder.far, "yellow" if courier.trouble else "")


def announce_end(sweep: Sweep, folder: StudyFolder) -> None:
    """Do what the sweep's `on_end` says."""
    if not sweep.on_end:
        return
    facts = read_status(folder.path)
    said = {key: facts[key] for key in ("study", "state", "exit_code", "reason", "code", "metric", "epochs")}
    best = facts["best"] or {"trial": None, "value": None}
    said |= {"folder": str(folder.path), "best_trial": best["trial"], "best_value": best["value"]}
    warn(filter(None, [announce(sweep.on_end, said)]))


def data_of(sweep: Sweep, folder: StudyFolder, past: StudyRecord, looks: bool) -> Data:
    """The data, loaded; the user is told if they are others than the study began with.

    Raises:
        NotFit: if it `looks`, with what is wrong with them.
        RunError: if they cannot be loaded.
    """
    from raysweep.preflight.first_step import load_checked_data
    from trainables.user_errors import load_data

    data = load_checked_data(sweep, echo_err) if looks else load_data(sweep.run, sweep.import_paths)
    warn(differences(folder, past, data.fingerprint))
    return data


def data_on_cluster(sweep: Sweep, folder: StudyFolder, past: StudyRecord, looks: bool) -> Data:
    """The same; meanwhile another node looks whether it has the study's storage."""
    from raysweep.cluster.shared_storage import storage_shared_by_nodes

    with storage_shared_by_nodes(folder.far or str(folder.path)):
        importlib.import_module("raysweep.study.execution.tuner")  # seconds that `attempt` need not take
        return data_of(sweep, folder, past, looks)


def run_attempt(
    sweep: Sweep,
    folder: StudyFolder,
    machine: Machine | Nodes,
    data: Data,
    view: StudyView,
    courier: StorageSync | None,
    looks: bool = False,
    *,
    part: StopSignal | None = None,
    subscribers: Sequence[Subscriber] = (),
) -> Finish:
    """One attempt at the study on the Ray that is up; `looks`: at its first step.

    Signals stop it, unless it is part of a larger study, which `part` stops.
    """
    from raysweep.preflight.first_step import first_step_config
    from raysweep.study.execution.tuner import run_tuner
    from raysweep.tracking import provenance

    stop, asked = part or StopSignal(), sweep.resources_per_trial
    with view:
        return run_tuner(
            sweep,
            folder,
            slots=machine.slots(asked, sweep.max_concurrent_trials),
            resources={"cpu": asked.cpu, "gpu": machine.gpu_share(asked.gpu)},
            on_oom=machine.share_after_oom(asked),
            stop=stop,
            subscribers=[view, *subscribers],
            discard=courier.discard if courier is not None else discard,
            data=data,
            first=first_step_config(sweep) if looks else None,
            provenance=provenance(CLONE, data_fingerprint=data.fingerprint),
            signals=stopped_by_signals(stop, view.say) if part is None else None,
        )


def tracker_of(sweep: Sweep, folder: StudyFolder, umbrella: ParentRun | None = None) -> TrackingProcess:
    """Who tells MLflow, not yet started; of a stage, with the run that its own stands under."""
    from raysweep.study.results.retrain import shown_keys
    from raysweep.tracking import SweepFacts, TrackingProcess, refuse_file_store, store_of

    facts = SweepFacts(
        study=sweep.study_name,
        experiment=sweep.tracking.experiment or sweep.run.project,
        metric=sweep.metric,
        direction=sweep.direction,
        others=sweep.others,
        objective=sweep.objective,
        parameters=shown_keys(sweep),
        log_scaled=tuple(key for key, domain in sweep.space.items() if getattr(domain, "log", False)),
        settings={
            "sampler": sweep.sampler.name,
            "trial_scheduler": sweep.trial_scheduler.name,
            "trials": sweep.trials,
            "epochs": sweep.run.epochs,
            "seed": sweep.seed,
        },
        sweep_yaml=folder.source_text(),
        umbrella=umbrella,
    )
    uri = store_of(sweep.tracking.uri, os.environ, Path.cwd(), folder.path)
    refuse_file_store(uri, os.environ)
    return TrackingProcess(folder.path, facts, uri=uri)


def print_tracking(console: Console, tracker: TrackingProcess, *, patience_s: float = LAST_S) -> int:
    """Wait for what MLflow is still owed, and print the page worth opening; how many events it lacks."""
    from raysweep.tracking import ui_command

    def say(left: int) -> None:
        if left:
            console.print(f"MLflow: {left} events to go", style="dim", highlight=False)

    unsent = tracker.close(patience_s, say)
    command = ui_command(tracker.uri, Path.cwd())
    if tracker.link:
        print_row(console, "MLflow", f"{command}, then {tracker.link}" if command else tracker.link)
    if unsent:
        sends = launch_command("sync", tracker.folder)
        lacks = f"lacks {unsent} events: {tracker.trouble}; `{sends}` sends them"
        print_row(console, "MLflow", lacks, "yellow")
    elif tracker.refused:
        print_row(console, "MLflow", f"refused {tracker.refused} changes; {tracker.trouble}", "yellow")
    return unsent
