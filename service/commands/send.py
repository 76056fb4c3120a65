"""A command on a sweep file sent to a cluster, as a job that runs it there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from service.cluster.target import Target
from service.commands.common import CLONE, murmur, warn
from service.spec import Sweep


def submit(
    target: Target,
    sweep: Sweep,
    file: Path,
    optimize_config: Path | None,
    words: Sequence[str],
    *,
    study: str,
    wait: bool = True,
) -> int:
    """Send a command on a sweep file to a cluster, as a job that runs this very command there.

    Args:
        target: where to.
        sweep: what the file says.
        file: the sweep file.
        optimize_config: the training template's second file.
        words: the command, and its options.
        study: what the job is called.
        wait: for its end; its exit code is returned then.
    """
    from service.cluster import verbs
    from service.cluster.package import sent_as
    from service.cluster.sight import refuse_unseen

    nodes = verbs.offers(target)
    if nodes is not None:
        nodes.slots(sweep.resources_per_trial, sweep.max_concurrent_trials)
    here = Path.cwd()
    warn(refuse_unseen(sweep, CLONE, here, target.include))
    arguments = [words[0], sent_as(file, CLONE, here), *words[1:]]
    if optimize_config:
        arguments += ["--optimize-config", sent_as(optimize_config, CLONE, here)]
    murmur(f"{study}: {target}")
    job = verbs.send(target, study, arguments, clone=CLONE, say=murmur)
    if not wait:
        click.echo(job)
        return 0
    return verbs.follow(target, job, say=murmur)
