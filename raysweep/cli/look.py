"""Commands for existing sweeps and machines: status, list, logs, stop, sync, repair, doctor, ui."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raysweep.cli.group import cli
from raysweep.cli.options import DOWN, JSON, RUNS, SWEEP_FILE, target_options
from raysweep.cluster.cost_guard import idle_notice
from raysweep.cluster.target import resolve_target
from raysweep.console.console import stdout
from raysweep.console.doctor import print_checks
from raysweep.console.status import print_job, print_jobs, print_shares, print_status, print_studies
from raysweep.runner.common import echo_err, find_study, run_on_cluster, warn, where_is
from raysweep.runner.run_study import print_tracking, tracker_of
from raysweep.study.journal.log import JournalError
from raysweep.study.journal.repair import find_damage, keep_sound_part
from raysweep.study.journal.status_fields import StudyStatus
from raysweep.study.journal.status_file import read_status
from raysweep.study.storage.layout import NotAStudy, StudyFolder
from raysweep.study.storage.locations import local_root, replace_journal
from raysweep.study.storage.lock import lock, writing_to
from raysweep.study.storage.sync import synced_storage
from trainables.imports import CLONE

if TYPE_CHECKING:
    from raysweep.cluster.fair_shares import LedgerEntry
    from raysweep.cluster.target import Target
    from raysweep.tracking import FinalState, TrackingProcess

SYNC_S = 3600.0  # how long `sync` waits for a slow MLflow


@cli.command()
@click.argument("study")
@click.option("--json", "wants_json", is_flag=True, help="status.json, for programs.")
@RUNS
@target_options
def status(study: str, wants_json: bool, runs: Path, **places: Any) -> None:
    """Show the progress of a STUDY (its folder, or its name)."""
    target = where_is(study, runs, **places)
    if target.far:
        from raysweep.cluster import remote_commands

        job, last_line = remote_commands.look(target, study)
        print_job(stdout(), job, last_line, as_json=wants_json)
        return
    fields = read_status(find_study(study, runs, staged=True).path)
    if wants_json:
        click.echo(json.dumps(fields, indent=1))
    else:
        print_status(stdout(), fields)


@cli.command("list")
@JSON
@RUNS
@target_options
def list_(wants_json: bool, runs: Path, **places: Any) -> None:
    """List the sweeps on a cluster, or the studies on this machine and which of them hold its slots."""
    target = resolve_target(**places)
    if target.far:
        from raysweep.cluster import remote_commands

        jobs = remote_commands.listed(target)
        print_jobs(stdout(), jobs, as_json=wants_json)
        if notice := idle_notice(target, remote_commands.running(jobs)):
            echo_err(notice)
        return
    print_studies(stdout(), studies(runs), as_json=wants_json)
    if not wants_json:
        print_shares(stdout(), shares_of(target))


@cli.command()
@click.argument("study")
@click.option("-f", "--follow", is_flag=True, help="Follow the output until the sweep ends.")
@JSON
@RUNS
@DOWN
@target_options
def logs(study: str, follow: bool, wants_json: bool, runs: Path, **places: Any) -> int:
    """Show the output of a STUDY that runs detached or on a cluster."""
    if follow and wants_json:
        raise click.UsageError("--follow shows a log as it grows, --json the whole log; give only one")
    if places["down"] and not follow:
        raise click.UsageError("--down ends the cluster after the sweep; add --follow to wait for that")
    target = where_is(study, runs, **places)
    if target.far:
        from raysweep.cluster import remote_commands

        if wants_json:
            job, text = remote_commands.log_of(target, study)
            click.echo(json.dumps(asdict(job) | {"log": text}, indent=1))
            return 0
        return remote_commands.print_log(target, study, on=follow, say=echo_err)
    from raysweep.cluster import background

    folder, output = find_study(study, runs, staged=True), list[str]()
    background.follow(folder, output.append if wants_json else partial(click.echo, nl=False), on=follow)
    if wants_json:
        click.echo(json.dumps({"study": folder.name, "log": "".join(output)}, indent=1))
    return 0


@cli.command()
@click.argument("study")
@RUNS
@target_options
def sync(study: str, runs: Path, **places: Any) -> int:
    """Send MLflow what it still lacks of a STUDY that is not running."""
    target = where_is(study, runs, **places)
    if target.far:
        return run_on_cluster(target, "sync", study)
    folder = find_study(study, runs, staged=True)
    with lock(folder.lock_file, shlex.join(sys.argv)), synced_storage(folder):
        if not folder.stored_sweep().stages:
            return sync_one(folder, tracker_of(folder.sweep(), folder))
        from raysweep.runner.stages_parent_run import final_state_of, parent_run_of
        from raysweep.study.stages.state import stage_states

        sweep, code = folder.sweep(), 0
        for part in [each for each in stage_states(folder) if each.trains]:
            with lock(part.folder.lock_file, shlex.join(sys.argv)):
                tracker = tracker_of(part.folder.sweep(), part.folder, parent_run_of(folder, sweep, part))
                code |= sync_one(part.folder, tracker, final_state_of(folder, sweep, part))
    return code


def sync_one(folder: StudyFolder, tracker: TrackingProcess, final_state: FinalState | None = None) -> int:
    """Send what MLflow lacks of one study; returns the exit code."""
    from raysweep.tracking import count_unsent

    missing, trouble = count_unsent(folder.path, tracker.uri)
    warn([trouble] if trouble else [])
    tracker.start()
    tracker.finish(SYNC_S, final_state)
    unsent = print_tracking(stdout(), tracker, patience_s=SYNC_S)
    click.echo(f"{folder.name}: {missing} events were missing in MLflow, {unsent} still are")
    return 1 if unsent or tracker.refused else 0


@cli.command()
@click.argument("study")
@click.option("--yes", is_flag=True, help="Do not ask.")
@RUNS
def repair(study: str, yes: bool, runs: Path) -> int:
    """Keep the intact part of a STUDY's damaged journal; the damaged journal is put aside."""
    folder = find_study(study, runs, staged=True)
    with lock(folder.lock_file, shlex.join(sys.argv)):
        repaired = [repair_one(each, yes) for each in (folder, *folder.stages())]
    return 0 if all(repaired) else 1


def repair_one(folder: StudyFolder, yes: bool) -> bool:
    """Repair one study's journal; False if it stays damaged."""
    damage = find_damage(folder.journal_dir)
    if not damage.problem:
        click.echo(f"{folder.journal_dir}: {len(damage.kept)} events, undamaged")
        return True
    record, lost = damage.record(folder.stored_sweep().objective), damage.written - len(damage.kept)
    kept = f"{len(damage.kept)} events: {len(record.trials)} trials, {record.epochs} epochs"
    click.echo(f"damaged: {damage.problem}")
    click.echo(
        f"can be kept: the first {kept}; lost: {f'at least {lost}' if lost else 'the'} events after them"
    )
    if not yes and not click.confirm("Keep these, and put the damaged journal aside?", err=True):
        return False
    with writing_to(folder.path):
        aside = keep_sound_part(folder, damage)
    replace_journal(folder)
    click.echo(f"kept; the damaged journal is {aside}")
    return True


@cli.command()
@click.option("--ray", "try_ray", is_flag=True, help="Start a Ray, and stop it again.")
@JSON
@RUNS
def doctor(try_ray: bool, wants_json: bool, runs: Path) -> int:
    """Check whether this machine is ready for a sweep; changes nothing and ends no process."""
    from raysweep.cluster.doctor import check_machine
    from raysweep.tracking import store_uri, trouble_with

    def tracking() -> tuple[str, str]:
        uri = store_uri(None, os.environ, Path.cwd())
        return uri, trouble_with(uri)

    checks = check_machine(runs, os.environ, Path.home(), tracking=tracking, try_ray=try_ray)
    if wants_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        print_checks(stdout(), checks)
    return 1 if any(check.state == "problem" for check in checks) else 0


@cli.command()
@click.argument("study")
@click.option("--now", is_flag=True, help="Do not finish running epochs; `resume` runs them again.")
@click.option("--json", "wants_json", is_flag=True, help="Print its state as JSON, for programs.")
@RUNS
@target_options
def stop(study: str, now: bool, wants_json: bool, runs: Path, **places: Any) -> None:
    """Stop a running STUDY; `resume` continues it."""
    target = where_is(study, runs, **places)
    if target.far:
        from raysweep.cluster import remote_commands

        state: Mapping[str, Any] = asdict(
            remote_commands.stop(target, study, now=now, clone=CLONE, say=echo_err)
        )
    else:
        from raysweep.cluster import background

        folder = find_study(study, runs, staged=True)
        background.stop(folder, now=now, say=echo_err)
        state = read_status(folder.path)
    if wants_json:
        click.echo(json.dumps(state, indent=1))


@cli.command()
@click.option("--cluster", type=SWEEP_FILE, default="cluster.yaml", show_default=True)
def ui(cluster: Path) -> None:
    """Open tunnels to a cluster's MLflow and Ray dashboard, until Ctrl-C."""
    from raysweep.cluster import remote_commands

    remote_commands.show_pages(cluster, click.echo)


def shares_of(target: Target) -> list[LedgerEntry]:
    """The drivers that share the slots of this machine, or of the Ray of which it is a node."""
    if target.kind != "ray":
        from raysweep.cluster.machine_ledger import MachineLedger

        return MachineLedger().entries()
    from raysweep.cluster.attach import attach_ray
    from raysweep.cluster.cluster_ledger import ClusterLedger

    with attach_ray(target.where, say=echo_err):
        return ClusterLedger().entries()


def studies(runs: Path) -> list[StudyStatus]:
    """The status of every study under a folder, oldest first; warns about each unreadable one."""
    readable = []
    for meta_file in sorted(local_root(runs).glob("*/study.json")):
        try:
            readable.append(read_status(meta_file.parent))
        except (NotAStudy, JournalError) as error:
            warn([error])
    return sorted(readable, key=lambda status: status.get("begun_at") or 0.0)
