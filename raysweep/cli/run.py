"""Commands that train: run, resume, extend."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from raysweep.cli.group import cli
from raysweep.cli.options import DOWN, FOLDER, RUNS, SWEEP_FILE, TRUST, options, slurm_options, target_options
from raysweep.cluster.machine import this_machine
from raysweep.cluster.slurm import SlurmRequest, require_slurm
from raysweep.cluster.target import new_name, resolve_target
from raysweep.config import Sweep
from raysweep.console.console import stdout
from raysweep.console.preview import print_preview, print_stages_preview
from raysweep.launch_command import launch_command
from raysweep.runner.common import (
    HERE,
    echo_err,
    find_study,
    load_checked,
    run_on_cluster,
    try_sweep,
    warn,
    where_is,
)
from raysweep.runner.new_study import create_study, run_new_study
from raysweep.runner.resolve import resolve_sweep
from raysweep.runner.revise_study import revise_study
from raysweep.runner.run_or_resume import run_or_resume
from raysweep.runner.submit import submit
from raysweep.runner.submit_to_slurm import resume_on_slurm, run_on_slurm
from raysweep.study.storage.code_snapshot import keep_code
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.lock import lock
from raysweep.study.storage.object_store import name_in
from raysweep.study.storage.trust import require_trust
from trainables.imports import CLONE


@cli.command()
@click.argument("file", type=SWEEP_FILE)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as in run.epochs=3."
)
@click.option(
    "--optimize-config", type=SWEEP_FILE, help="The training template's second file; FILE is its run config."
)
@click.option("--name", help="Study name; by default the file's study_name.")
@click.option("--dry-run", is_flag=True, help="Print what would run.")
@click.option("--runs", type=FOLDER, help="Where studies are kept; by default the file's `storage`, or runs.")
@click.option("--detach", is_flag=True, help="Leave it running without this terminal.")
@click.option("--no-wait", is_flag=True, help="On a cluster: submit, print the id, do not follow.")
@click.option(
    "--preflight/--no-preflight",
    "tries",
    default=None,
    help="Do the whole preflight first, or no checks at all; by default, check the data and the first step.",
)
@DOWN
@slurm_options
@target_options
def run(
    file: Path,
    overrides: tuple[str, ...],
    optimize_config: Path | None,
    name: str | None,
    dry_run: bool,
    runs: Path | None,
    detach: bool,
    no_wait: bool,
    tries: bool | None,
    slurm: SlurmRequest | None,
    **places: Any,
) -> int:
    """Run the sweep of a FILE, on a cluster if one is named or up, else on this machine."""
    sweep = load_checked(file, overrides=overrides, optimize_config=optimize_config, runs=runs)
    if name:
        sweep = sweep.model_copy(update={"study_name": name})
    if slurm is not None:
        second = optimize_config and optimize_config.absolute()
        args = options({"--optimize-config": second, "--set": overrides})
        return run_on_slurm(sweep, slurm, file, args, runs, tries=tries, dry_run=dry_run)
    if dry_run:
        preview(resolve_sweep(sweep, HERE, file)[0])
        return 0
    target = resolve_target(**places)
    if target.far:
        study = name or new_name(sweep.study_name)
        checks = {"--preflight": tries is True, "--no-preflight": tries is False}
        args = ["run", *options({"--set": overrides, "--runs": runs, "--name": study, **checks})]
        return submit(target, sweep, file, optimize_config, args, study=study, wait=not (no_wait or detach))
    sweep, chosen = resolve_sweep(sweep, target, file)
    if tries:
        try_sweep(sweep, runs, target).require()
    second = optimize_config and optimize_config.absolute()
    args = [str(file.absolute()), *options({"--optimize-config": second, "--set": overrides})]
    text = file.read_text(encoding="utf-8")
    folder = create_study(sweep, runs, target, chosen, text=text, file=file, args=args)
    if detach:
        return resume_detached(folder, *(["--no-preflight"] if tries is False else []))
    return run_new_study(folder, target, check=tries is not False)


@cli.command()
@click.argument("study")
@click.option("--no-preflight", is_flag=True, help="Skip the checks that a study without an epoch gets.")
@click.option("--adopt-code", is_flag=True, help="Use your modules as they are now, not the study's copy.")
@TRUST
@RUNS
@DOWN
@slurm_options
@target_options
def resume(
    study: str,
    runs: Path,
    adopt_code: bool,
    no_preflight: bool,
    trust: bool,
    slurm: SlurmRequest | None,
    **places: Any,
) -> int:
    """Continue a STUDY (its folder, or its name) where it was stopped or killed."""
    target = where_is(study, runs, **places) if slurm is None else HERE
    if target.far:
        args = options({"--adopt-code": adopt_code, "--no-preflight": no_preflight, "--trust": trust})
        return run_on_cluster(target, "resume", study, args, job=name_in(study))
    folder = find_study(study, runs, staged=True)
    require_trust(folder.path, trust)
    if (edited := folder.edited_file()) is not None:
        warn([f"{edited} {EDITED}"])
    if adopt_code:
        with lock(folder.lock_file, shlex.join(sys.argv)):
            for each in (folder, *folder.stages()):
                keep_code(each, each.sweep())
    if slurm is not None:
        return resume_on_slurm(folder, slurm, check=not no_preflight)
    return run_or_resume(folder.sweep(), folder, target, check=not no_preflight)


@cli.command()
@click.argument("study")
@click.option("--trials", metavar="N|+N", help="Trials in total, or additional ones.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs of a trial; completed ones continue.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting, e.g. widen a range."
)
@click.option("--dry-run", is_flag=True, help="Say what would change, and what it would cost.")
@TRUST
@RUNS
@slurm_options
@target_options
def extend(
    study: str,
    trials: str | None,
    epochs: int | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    trust: bool,
    runs: Path,
    slurm: SlurmRequest | None,
    **places: Any,
) -> int:
    """Give a STUDY more trials, more epochs or a wider search space, and continue it."""
    target = where_is(study, runs, **places) if slurm is None else HERE
    if target.far:
        given = {"--trials": trials, "--epochs": epochs, "--set": overrides, "--dry-run": dry_run}
        given |= {"--trust": trust}
        return run_on_cluster(target, "extend", study, options(given), job=name_in(study))
    folder = find_study(study, runs)
    require_trust(folder.path, trust)
    if slurm is not None:
        require_slurm()  # or the study would have changed for nothing
    revise_study(folder, trials, epochs, overrides, dry_run=dry_run)
    if dry_run:
        return 0
    return run_or_resume(folder.sweep(), folder, target) if slurm is None else resume_on_slurm(folder, slurm)


EDITED = (
    "has changed since the study began, but the study keeps its own copy; `extend --set` changes what may "
    "change, `run --name` begins a new study"
)


def preview(sweep: Sweep) -> None:
    """Print what would run on this machine."""
    machine, resources = this_machine(), sweep.resources_per_trial
    slots = machine.slots(resources, sweep.max_concurrent_trials)
    if sweep.stages:
        print_stages_preview(stdout(), sweep, slots=slots)
    else:
        print_preview(stdout(), sweep, slots=slots, gpu=machine.gpu_share(resources.gpu))


def resume_detached(folder: StudyFolder, *args: str) -> int:
    """Start a study's driver without this terminal: `resume` with these arguments."""
    from raysweep.cluster.background import detach

    pid = detach(folder, CLONE / "launch.py", args)
    follow, stop = launch_command("logs", "-f", folder.path), launch_command("stop", folder.path)
    echo_err(f"process {pid}; follow it: `{follow}`, stop it: `{stop}`")
    click.echo(folder.name)
    return 0
