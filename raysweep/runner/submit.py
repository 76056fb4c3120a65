"""Submits a command on a sweep file to a cluster, as a job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.target import Target
from raysweep.config import Sweep
from raysweep.runner.common import echo_err, warn
from trainables.imports import CLONE


def submit(
    target: Target,
    sweep: Sweep,
    file: Path,
    optimize_config: Path | None,
    args: Sequence[str],
    *,
    study: str,
    wait: bool = True,
) -> int:
    """Submit a command on a sweep file to a cluster, as a job that runs the same command there.

    Args:
        target: the cluster.
        sweep: what the file says.
        file: the sweep file.
        optimize_config: the training template's second file.
        args: the command, and its options.
        study: the job's name.
        wait: whether to follow the job to its end; its exit code is returned then.

    Raises:
        ClusterError: if the cluster refuses the job, or `--down` is given without waiting.
    """
    if target.down and not wait:
        raise ClusterError(
            "--down ends the cluster after the sweep, but --no-wait does not wait for that; "
            "use `launch.py logs -f ID --down`"
        )
    from raysweep.cluster import remote_commands
    from raysweep.cluster.data_visibility import refuse_missing_data_files
    from raysweep.cluster.working_tree import sent_as
    from raysweep.tracking.provenance import submitted_environment

    nodes = remote_commands.offers(target)
    if nodes is not None:
        nodes.slots(sweep.resources_per_trial, sweep.max_concurrent_trials)
    here = Path.cwd()
    warn(refuse_missing_data_files(sweep, CLONE, here, target.include))
    arguments = [args[0], sent_as(file, CLONE, here), *args[1:]]
    if optimize_config:
        arguments += ["--optimize-config", sent_as(optimize_config, CLONE, here)]
    echo_err(f"{study}: {target}")
    environment = submitted_environment(file.resolve().parent)
    job = remote_commands.send(target, study, arguments, clone=CLONE, say=echo_err, environment=environment)
    if not wait:
        click.echo(job)
        return 0
    return remote_commands.follow(target, job, say=echo_err)
