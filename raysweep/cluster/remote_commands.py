"""Sends, follows, shows and stops sweeps on a cluster from the user's machine."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from raysweep.cluster.cost_guard import guard_costs
from raysweep.cluster.errors import ClusterError
from raysweep.cluster.job_output import JobOutputFilter, job_output
from raysweep.cluster.jobs import DASHBOARD_PORT, STOP_GRACE_S, Job, Jobs, reach, watch_job
from raysweep.cluster.nodes import Nodes, available_nodes, read_cluster_file
from raysweep.cluster.target import Target
from raysweep.cluster.tunnel import is_open, tunnel
from raysweep.errors import ExitCode
from raysweep.formatting import one_line

Say = Callable[[str], None]
LOOK_S = 0.5
MLFLOW_PORT = 5000
DETACHED = 0


def offers(target: Target) -> Nodes | None:
    """The nodes that the cluster of a target's file can have at most, if the file says so."""
    return available_nodes(read_cluster_file(Path(target.where))) if target.kind == "cluster" else None


def send(
    target: Target,
    study: str,
    arguments: Sequence[str],
    *,
    clone: Path,
    say: Say,
    environment: Mapping[str, str],
) -> str:
    """Submit `launch.py ARGUMENTS` as a job on a study, with extra environment variables; returns its id."""
    with reach(target, os.environ, Path.home()) as jobs:
        project, include = Path.cwd(), target.include
        return jobs.submit(
            study,
            arguments,
            clone=clone,
            project=project,
            say=say,
            include=include,
            environment=environment,
        )


def follow(target: Target, job: str, *, say: Say) -> int:
    """Show what a job prints until it ends; returns its exit code. Ctrl-C leaves it running."""
    write = JobOutputFilter(_write)
    try:
        end = watch_job(target, job, environ=os.environ, home=Path.home(), write=write, say=say)
    except KeyboardInterrupt:
        say(
            f"\n{job} continues in the background: `launch.py logs -f {job}` follows it again, "
            f"`launch.py status {job}` shows its progress, `launch.py stop {job}` stops it"
        )
        return DETACHED
    write.flush()
    if end.status == "FAILED" and end.exit_code is None:
        say(f"{job}: {one_line(end.message, 500)}")
    guard_costs(target, lambda: running(listed(target)), say)
    return end.code


def running(jobs: Sequence[Job]) -> list[str]:
    """The studies whose jobs have not ended."""
    return [job.study for job in jobs if not job.over]


def look(target: Target, study: str) -> tuple[Job, str]:
    """A study's newest job and the last line it printed."""
    with reach(target, os.environ, Path.home()) as jobs:
        job = jobs.find(study)
        lines = jobs.log(job.id).strip().splitlines()
        return job, lines[-1] if lines else ""


def listed(target: Target) -> list[Job]:
    """All sweeps of a cluster, oldest first."""
    with reach(target, os.environ, Path.home()) as jobs:
        return jobs.all()


def log_of(target: Target, study: str) -> tuple[Job, str]:
    """A study's newest job, and everything it printed."""
    with reach(target, os.environ, Path.home()) as jobs:
        job = jobs.find(study)
        return job, job_output(jobs.log(job.id))


def print_log(target: Target, study: str, *, on: bool, say: Say) -> int:
    """Print the output of a study's newest job; with `on`, until it ends."""
    with reach(target, os.environ, Path.home()) as jobs:
        job = jobs.find(study)
        if not on:
            _write(job_output(jobs.log(job.id)))
            return 0
    return follow(target, job.id, say=say)


def stop(target: Target, study: str, *, now: bool, clone: Path, say: Say) -> Job:
    """Stop a study's job gracefully and wait for its end; returns the ended job.

    Args:
        target: the cluster.
        study: its name, or the job's id.
        now: do not wait for running epochs. Ray signals a job only once, so a separate job does this.
        clone: where launch.py is.
        say: receives how it ended.

    Raises:
        ClusterError: if it is not running, or does not stop.
    """
    with reach(target, os.environ, Path.home()) as jobs:
        job = jobs.find(study)
        if job.over:
            raise ClusterError(f"{job.id} is not running: {job.status.lower()}")
        if now:
            arguments = ["stop", job.study, "--now", "--local", *_runs_option(job.command)]
            jobs.submit(f"{job.study}.stop", arguments, clone=clone, project=Path.cwd(), say=say)
        else:
            jobs.stop(job.id)
        ended = _wait(jobs, job.id, STOP_GRACE_S + 15.0)
    how = "stopped" if ended.code == ExitCode.INTERRUPTED else f"{ended.status.lower()} before it was stopped"
    say(f"{job.id} {how}; `launch.py resume {job.study}` continues it")
    return ended


def show_pages(cluster: Path, say: Say) -> None:
    """Print links to a cluster's MLflow and dashboard, and keep tunnels to both open until Ctrl-C."""
    with ExitStack() as stack:
        for name, remote in (("MLflow", MLFLOW_PORT), ("Ray dashboard", DASHBOARD_PORT)):
            port = stack.enter_context(tunnel(cluster, remote, None if is_open(remote) else remote))
            say(f"{name}: http://127.0.0.1:{port}")
        say("Ctrl-C closes them")
        try:
            while True:
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            return


def _runs_option(command: str) -> list[str]:
    """The `--runs` option in a job's command, if it has one.

    >>> _runs_option("python launch.py run a.yaml --runs /mnt/x --name b")
    ['--runs', '/mnt/x']
    """
    parts = shlex.split(command)
    return parts[parts.index("--runs") :][:2] if "--runs" in parts else []


def _wait(jobs: Jobs, job: str, seconds: float) -> Job:
    deadline = time.monotonic() + seconds
    while not (now := jobs.find(job)).over:
        if time.monotonic() > deadline:
            raise ClusterError(f"{job} is still running {seconds:g} s after the request to stop")
        time.sleep(LOOK_S)
    return now


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
