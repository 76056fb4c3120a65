"""Submits a study to Slurm, as a job that runs the same command on its own nodes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.slurm import (
    SlurmJob,
    SlurmRequest,
    job_script,
    require_slurm,
    submit_job,
    unshared_storage,
)
from raysweep.cluster.target import Target
from raysweep.config import Sweep
from raysweep.launch_command import launch_command, typed
from raysweep.runner.common import HERE, echo_err, root_of, storage_of, try_sweep, warn
from raysweep.runner.new_study import create_study
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.object_store import uri_of
from trainables.imports import CLONE

TARGET = Target("ray", "", "the Ray of a Slurm job")


def run_on_slurm(
    sweep: Sweep,
    request: SlurmRequest,
    file: Path,
    args: Sequence[str],
    runs: Path | None,
    *,
    tries: bool | None,
    dry_run: bool,
) -> int:
    """Submit a new study to Slurm and return the exit code.

    The study is made at once, so changes made while the job waits have no effect. A study that has to be
    measured first (`resources_per_trial: auto`, `budget`) is made by the job, on its nodes.

    Args:
        sweep: what the file says.
        request: what is requested of Slurm.
        file: the sweep file.
        args: options of `run` that the study depends on.
        runs: where studies are kept; None for the sweep's own storage.
        tries: True for the whole preflight first (on this machine, if the study is made at once), False for
            no checks.
        dry_run: only print the script.

    Raises:
        ClusterError: if the job cannot be submitted; the study is removed then.
    """
    root = root_of(sweep, runs).absolute()
    kept = uri_of(storage_of(sweep, runs)) or str(root)
    check = {True: ["--preflight"], False: ["--no-preflight"], None: []}[tries]
    begin = ["run", str(file.absolute()), *args, *check, "--name", sweep.study_name, "--runs", kept]
    job = job_of(root / sweep.study_name, begin, check=tries is not False)
    if dry_run:
        click.echo(job_script(job, request), nl=False)
        return 0
    require_slurm()
    study = None
    if sweep.resources_per_trial.auto or sweep.budget:
        echo_err(f"{file}: read when the job begins and is measured on its nodes; do not edit it until then")
    else:
        if tries:
            try_sweep(sweep, runs, HERE).require()
        text, line = file.read_text(encoding="utf-8"), [str(file.absolute()), *args]
        study = create_study(sweep, runs, TARGET, {}, text=text, file=file, args=line)
    try:
        return submit(job, request)
    except ClusterError:
        if study is not None:
            study.remove()  # so that the fixed sweep can use the name
        raise


def resume_on_slurm(folder: StudyFolder, request: SlurmRequest, *, check: bool = True) -> int:
    """Submit the rest of a study to Slurm and return the exit code.

    `check`: whether the data and the first step are checked if the study has no epoch yet.

    Raises:
        ClusterError: if the job cannot be submitted.
    """
    return submit(job_of(folder.path, ["resume", str(folder.path)], check=check), request)


def job_of(study: Path, begin: Sequence[str], *, check: bool) -> SlurmJob:
    """The job of a study, in this Python environment and this working directory."""
    resume = () if check else ("--no-preflight",)
    return SlurmJob(study, tuple(begin), resume, Path(sys.executable), CLONE / "launch.py", Path.cwd())


def submit(job: SlurmJob, request: SlurmRequest) -> int:
    """Submit a job, print how to follow and end it, and print its number on stdout."""
    warn(filter(None, [unshared_storage(job.study)]))
    number = submit_job(job, request)
    log = typed(job.log(number))
    echo_err(
        f"{job.study.name}: Slurm job {number}, log {log}; follow it: `tail -F {shlex.quote(log)}` or "
        f"`{launch_command('status', job.study)}`; end it in good order: "
        f"`scancel --batch --signal=INT {number}`"
    )
    click.echo(number)
    return 0
