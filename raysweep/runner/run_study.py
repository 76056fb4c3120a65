"""Runs a study, from its lock to the last printed line."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from raysweep.cluster.target import Target
from raysweep.config import Sweep
from raysweep.console.console import stdout
from raysweep.console.live import watch
from raysweep.console.rows import print_row
from raysweep.console.summary import first_failed, print_places, print_summary
from raysweep.formatting import counted, sweep_size
from raysweep.launch_command import launch_command
from raysweep.preflight.check import PreflightFailed
from raysweep.runner.common import study_facts, warn
from raysweep.runner.resolve import resolve_run
from raysweep.study.execution.run_plan import RunPlan
from raysweep.study.execution.shutdown import StopSignal, stopped_by_signals
from raysweep.study.execution.study_subscriber import subscribed
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import StudyRecord, fold
from raysweep.study.journal.status_file import read_status
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.locations import discard
from raysweep.study.storage.lock import lock
from raysweep.study.storage.process_tag import tagged_process_env
from raysweep.study.storage.sync import StorageSync, synced_storage
from trainables.run_config import flatten

if TYPE_CHECKING:
    from raysweep.console.progress import Facts, Progress
    from raysweep.console.watch import StudyView
    from raysweep.study.execution.controller import Finish
    from raysweep.study.journal.events import Subscriber
    from raysweep.tracking import ParentRun, TrackingProcess


def run_study(sweep: Sweep, folder: StudyFolder, target: Target, *, check: bool = True) -> int:
    """Run the rest of a study, on its own Ray or a running one, and return the exit code.

    Args:
        sweep: what the folder holds.
        folder: the study.
        target: where it runs.
        check: whether the data and the first step are checked if the study has no epoch yet.

    Raises:
        PreflightFailed: if they are checked, and no trial can succeed.
    """
    console = stdout()
    with lock_study(folder) as sync:
        trials = sweep_size(sweep.trials, sweep.run.epochs)
        console.print(f"{sweep.study_name}: {trials}, {target}", highlight=False)
        past = fold(read_events(folder.journal_dir), sweep.objective)
        tracker = tracker_of(sweep, folder)
        tracker.start()  # before Ray: its process imports mlflow while the other cores are idle
        view = watch(study_facts(sweep), past, console)
        with ExitStack() as resolved:
            with tracker.kill_on_error():
                check = check and past.epochs == 0
                plan = resolved.enter_context(resolve_run(sweep, folder, target, past, check=check))
            finish = StudyRunner(plan, view, sync).run(subscribers=[tracker])
            now = view.progress()
        print_end(console, view.facts, folder, finish, now)
        print_tracking(console, tracker)
    print_storage(console, folder, sync)
    announce_end(sweep, folder)
    return code_of(finish)


@dataclass(frozen=True)
class StudyRunner:
    """Carries out a plan, shown by a view.

    Attributes:
        plan: of one attempt at a study.
        view: shows the study at the terminal.
        sync: to the study's storage, if it has one.
    """

    plan: RunPlan
    view: StudyView
    sync: StorageSync | None = None

    def run(self, stop: StopSignal | None = None, subscribers: Sequence[Subscriber] = ()) -> Finish:
        """Make one attempt.

        Args:
            stop: of the staged study, if this is one of its stages; without it signals stop the study.
            subscribers: get every event, as the view does.
        """
        from raysweep.study.execution.tuner import run_tuner

        own = StopSignal()
        plan = self.plan
        with self.view, subscribed(plan.sweep, plan.folder, partial(_past, plan), self.view.say) as threads:
            return run_tuner(
                plan,
                stop=stop or own,
                subscribers=[self.view, *threads, *subscribers],
                discard=discard if self.sync is None else self.sync.discard,
                signals=stopped_by_signals(own, self.view.say) if stop is None else None,
                say=self.view.say,
            )


def _past(plan: RunPlan) -> StudyRecord:
    """The record of a study before an attempt."""
    return fold(read_events(plan.folder.journal_dir), plan.sweep.objective)


@contextmanager
def lock_study(folder: StudyFolder) -> Iterator[StorageSync | None]:
    """Lock a study, tag this process as its driver, and keep its storage in sync."""
    command = shlex.join(sys.argv)
    with lock(folder.lock_file, command), tagged_process_env(folder.path), synced_storage(folder) as sync:
        yield sync


def code_of(finish: Finish) -> int:
    """The exit code of an attempt.

    Raises:
        PreflightFailed: if the first step showed that no trial can succeed.
    """
    if finish.unfit:
        raise PreflightFailed("\n".join(f"preflight: {reason}" for reason in finish.unfit))
    return finish.exit_code


def print_end(console: Console, facts: Facts, folder: StudyFolder, finish: Finish, now: Progress) -> None:
    """Print how an attempt ended, and the next command; nothing if the first step failed, which raises."""
    if finish.unfit:
        return
    record, code = finish.record, finish.exit_code
    print_summary(console, facts, record, now, code, finish.reason)
    left = now.ended < facts.wanted
    print_places(console, folder.path, folder.best_file, code, failed=first_failed(record), left=left)
    warn(finish.notes)


def print_storage(console: Console, folder: StudyFolder, sync: StorageSync | None) -> None:
    """Print the storage of a study, or why it is incomplete there."""
    if sync is not None:
        print_row(console, "storage", sync.trouble or folder.storage_uri, "yellow" if sync.trouble else "")


def announce_end(sweep: Sweep, folder: StudyFolder) -> None:
    """Run the sweep's `on_end`, if it has one."""
    if not sweep.on_end:
        return
    from raysweep.cluster.end_notification import announce  # its HTTP client takes a twentieth of a start

    status: Mapping[str, Any] = read_status(folder.path)
    keys = ("study", "state", "exit_code", "reason", "code", "metric", "epochs")
    fields = {key: status[key] for key in keys}
    best = status["best"] or {"trial": None, "value": None}
    fields |= {"folder": str(folder.path), "best_trial": best["trial"], "best_value": best["value"]}
    warn(filter(None, [announce(sweep.on_end, fields)]))


def tracker_of(sweep: Sweep, folder: StudyFolder, parent: ParentRun | None = None) -> TrackingProcess:
    """The tracking process of a study, not yet started; `parent`: for a stage, the staged sweep's run."""
    from raysweep.study.results.retrain import shown_keys
    from raysweep.tracking import SweepFacts, TrackingProcess, refuse_file_store, store_of

    facts = SweepFacts(
        study=sweep.study_name,
        experiment=sweep.experiment,
        metric=sweep.metric,
        direction=sweep.direction,
        others=sweep.others,
        objective=sweep.objective,
        parameters=shown_keys(sweep),
        log_scaled=tuple(key for key, domain in sweep.space.items() if getattr(domain, "log", False)),
        settings={
            **_fixed_settings(sweep),
            "sampler": sweep.sampler.name,
            "trial_scheduler": sweep.trial_scheduler.name,
            "trials": sweep.trials,
            "seed": sweep.seed,
        },
        sweep_yaml=folder.source_text(),
        parent=parent,
        data=_data_source(sweep),
    )
    uri = store_of(sweep.tracking.uri, os.environ, Path.cwd(), folder.path)
    refuse_file_store(uri, os.environ)
    return TrackingProcess(folder.path, facts, uri=uri)


def _data_source(sweep: Sweep) -> str:
    """The path of the sweep's table, else its data function; "" for a loop that has its own data."""
    from raysweep.study.results.portable_paths import absolute_paths

    run, _ = absolute_paths(sweep.run.model_dump(mode="json"), sweep.import_paths)
    return str(run["data_config"].get("path") or sweep.run.data or "")


def _fixed_settings(sweep: Sweep) -> dict[str, Any]:
    """The settings that all trials share: the run's own values, without searched and empty ones."""
    own = flatten(sweep.run.model_dump(mode="json"))
    return {
        key: value for key, value in own.items() if key not in sweep.space and value not in (None, {}, [])
    }


def print_tracking(console: Console, tracker: TrackingProcess, *, patience_s: float | None = None) -> int:
    """Wait for the tracking process, print the sweep's page, and return how many events MLflow lacks."""
    from raysweep.tracking import ui_command

    def say(left: int) -> None:
        if left:
            console.print(f"MLflow: {counted(left, 'event')} to go", style="dim", highlight=False)

    unsent = tracker.close(patience_s, say)
    command = ui_command(tracker.uri, Path.cwd())
    if tracker.link:
        print_row(console, "MLflow", f"{command}, then {tracker.link}" if command else tracker.link)
    if unsent:
        sync = launch_command("sync", tracker.folder)
        message = f"lacks {counted(unsent, 'event')}: {tracker.trouble}; `{sync}` sends them"
        print_row(console, "MLflow", message, "yellow")
    elif tracker.refused:
        message = f"refused {counted(tracker.refused, 'change')}; {tracker.trouble}"
        print_row(console, "MLflow", message, "yellow")
    return unsent
