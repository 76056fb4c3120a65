"""Commands that train: run, resume, extend."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from service.cluster.machine import this_machine
from service.cluster.target import Target, where
from service.cluster.trouble import ClusterError
from service.commands.common import CLONE, examine, find, murmur, root_of, storage_of, tried, warn, where_is
from service.commands.drive import carry_out
from service.commands.group import cli
from service.commands.options import FOLDER, RUNS, SWEEP_FILE, placed
from service.spec import Sweep
from service.study.code import keep_code
from service.study.depot import name_in, uri_of
from service.study.extend import check_extension, in_words, revised
from service.study.folder import StudyFolder, below
from service.study.journal import read_events
from service.study.lock import lock
from service.study.places import check_new
from service.study.record import fold
from service.view.console import stdout
from service.view.preview import print_preview


@cli.command()
@click.argument("file", type=SWEEP_FILE)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as in run.epochs=3."
)
@click.option(
    "--optimize-config", type=SWEEP_FILE, help="The training template's second file: FILE is its run config."
)
@click.option("--name", help="Study name; study_name of the file by default.")
@click.option("--dry-run", is_flag=True, help="Print what would run.")
@click.option("--runs", type=FOLDER, help="Where studies go; the file's `storage`, or runs.")
@click.option("--detach", is_flag=True, help="Leave it running without this terminal.")
@click.option("--no-wait", is_flag=True, help="On a cluster: submit, print the id, do not follow.")
@click.option("--preflight", "tries", is_flag=True, help="Try it first, and only run it if all is well.")
@placed
def run(
    file: Path,
    overrides: tuple[str, ...],
    optimize_config: Path | None,
    name: str | None,
    dry_run: bool,
    runs: Path | None,
    detach: bool,
    no_wait: bool,
    tries: bool,
    **places: Any,
) -> int:
    """Run the sweep of a FILE: on a cluster if one is named or up, else on this machine."""
    sweep = examine(file, overrides=overrides, optimize_config=optimize_config, runs=runs)
    if name:
        sweep = sweep.model_copy(update={"study_name": name})
    if dry_run:
        machine, asked = this_machine(), sweep.resources_per_trial
        slots = machine.slots(asked, sweep.max_concurrent_trials)
        print_preview(stdout(), sweep, slots=slots, gpu=machine.gpu_share(asked.gpu))
        return 0
    target = where(**places)
    if target.far:
        words = [
            *(word for each in overrides for word in ("--set", each)),
            *(("--runs", uri_of(runs) or str(runs)) if runs else ()),
            *(("--preflight",) if tries else ()),
        ]
        return submit(target, sweep, file, optimize_config, words, name=name, wait=not (no_wait or detach))
    if tries:
        tried(sweep, runs).require()
    folder = create(sweep, runs, file, target)
    if detach:
        return leave(folder)
    return carry_out(folder.sweep(), folder, target)


@cli.command()
@click.argument("study")
@click.option("--adopt-code", is_flag=True, help="Take your modules as they are now, not the study's copy.")
@RUNS
@placed
def resume(study: str, runs: Path, adopt_code: bool, **places: Any) -> int:
    """Carry on with a STUDY (its folder, or its name) where it was stopped or killed."""
    target = where_is(study, runs, **places)
    if target.far:
        from service.cluster import verbs

        words = ["resume", study, *(["--adopt-code"] if adopt_code else ())]
        job = verbs.send(target, name_in(study), words, clone=CLONE, say=murmur)
        return verbs.follow(target, job, say=murmur)
    folder = find(study, runs)
    if adopt_code:
        with lock(folder.lock_file, shlex.join(sys.argv)):
            keep_code(folder, folder.sweep())
    return carry_out(folder.sweep(), folder, target)


@cli.command()
@click.argument("study")
@click.option("--trials", metavar="N|+N", help="So many trials in all, or so many more.")
@click.option("--epochs", type=click.IntRange(1), help="So many epochs a trial; completed ones go on.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting, e.g. widen a range."
)
@click.option("--dry-run", is_flag=True, help="Say what it would come to.")
@RUNS
@placed
def extend(
    study: str,
    trials: str | None,
    epochs: int | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    runs: Path,
    **places: Any,
) -> int:
    """Give a STUDY more trials, more epochs or a wider search space, and carry on with it."""
    target = where_is(study, runs, **places)
    if target.far:
        from service.cluster import verbs

        given = {"--trials": trials, "--epochs": epochs}
        words = [text for key, value in given.items() if value for text in (key, str(value))]
        words += [text for each in overrides for text in ("--set", each)] + ["--dry-run"] * dry_run
        job = verbs.send(target, name_in(study), ["extend", study, *words], clone=CLONE, say=murmur)
        return verbs.follow(target, job, say=murmur)
    from service.study.tune import make_scheduler

    folder = find(study, runs)
    with lock(folder.lock_file, shlex.join(sys.argv)):
        new = revised(folder, [*in_words(folder.wanted(), trials, epochs), *overrides])
        record = fold(read_events(folder.journal_dir), new.objective)
        extension = check_extension(folder, new, record, make_scheduler(folder.sweep()).rule)
        for line in extension.lines(record):
            click.echo(line)
        if dry_run:
            return 0
        folder.revise(new, extension.changes, time.time())
    return carry_out(folder.sweep(), folder, target)


def create(sweep: Sweep, runs: Path | None, file: Path, target: Target) -> StudyFolder:
    """The folder of a new study.

    Raises:
        CannotPlace: if this machine, being the one to run it, has no slot for a trial.
        ClusterError: if the place cannot be written to.
    """
    if target.kind == "here":
        this_machine().slots(sweep.resources_per_trial, sweep.max_concurrent_trials)
    root, uri = root_of(sweep, runs), uri_of(storage_of(sweep, runs))
    far = below(uri, sweep.study_name) if uri else ""
    if far:
        check_new(far)
    try:
        folder = StudyFolder.create(root, sweep.study_name, sweep, file.read_text(encoding="utf-8"), far)
        keep_code(folder, sweep)
        return folder
    except OSError as error:
        raise ClusterError(f"storage: {root}: cannot be written ({error.strerror})") from None


def submit(
    target: Target,
    sweep: Sweep,
    file: Path,
    optimize_config: Path | None,
    words: Sequence[str],
    *,
    name: str | None,
    wait: bool,
) -> int:
    """Send a sweep to a cluster, as a job that runs this very command there; the sweep's exit code."""
    from service.cluster import verbs
    from service.cluster.jobs import new_name
    from service.cluster.package import sent_as
    from service.cluster.sight import refuse_unseen

    nodes = verbs.offers(target)
    if nodes is not None:
        nodes.slots(sweep.resources_per_trial, sweep.max_concurrent_trials)
    study, here = name or new_name(sweep.study_name), Path.cwd()
    warn(refuse_unseen(sweep, CLONE, here))
    arguments = ["run", sent_as(file, CLONE, here), *words, "--name", study]
    if optimize_config:
        arguments += ["--optimize-config", sent_as(optimize_config, CLONE, here)]
    murmur(f"{study}: {target}")
    job = verbs.send(target, study, arguments, clone=CLONE, say=murmur)
    if not wait:
        click.echo(job)
        return 0
    return verbs.follow(target, job, say=murmur)


def leave(folder: StudyFolder) -> int:
    """Start a study's driver without this terminal."""
    from service.cluster.background import detach

    pid, place = detach(folder, CLONE / "launch.py"), folder.path
    murmur(f"process {pid}; follow it: `launch.py logs -f {place}`, stop it: `launch.py stop {place}`")
    click.echo(folder.name)
    return 0
