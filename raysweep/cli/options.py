"""Options that several commands take."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from raysweep.cluster.slurm import GRACE_S, SlurmRequest
from raysweep.study.storage.object_store import uri_of

SWEEP_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
RUNS = click.option(
    "--runs",
    type=FOLDER,
    default="runs",
    show_default=True,
    envvar="RAYSWEEP_STORAGE",
    help="Folder that holds the studies.",
)


TRUST = click.option(
    "--trust",
    is_flag=True,
    envvar="RAYSWEEP_TRUST",
    help="Run the code of a folder that was not made here by you; asked once.",
)
DOWN = click.option("--down", is_flag=True, help="End the cluster (`ray down`) after its last sweep.")
PLACES = ("local", "address", "cluster", "include")
POSITIVE = click.IntRange(1)
SLURM_OPTIONS = (
    click.option("--sbatch", multiple=True, metavar="OPTION", help="Any other, as --sbatch=--account=LAB."),
    click.option("--grace", type=click.IntRange(30), help=f"Seconds to end within the limit; {GRACE_S}."),
    click.option("--gpus-per-node", type=POSITIVE, help="GPUs of each node."),
    click.option("--cpus-per-node", type=POSITIVE, help="Cores of each; with neither, whole nodes."),
    click.option("--partition", help="Slurm's partition."),
    click.option("--time", help="Limit of one allocation, as 90 (minutes), 4:00:00, 1-12 (days-hours)."),
    click.option("--nodes", type=POSITIVE, help="Slurm nodes; 1."),
    click.option("--slurm", is_flag=True, help="As a Slurm job that queues again until all is done."),
)
SLURM = ("nodes", "time", "partition", "cpus_per_node", "gpus_per_node", "grace", "sbatch")


def options(given: Mapping[str, Any]) -> list[str]:
    """Options as they are typed; those that were not given are left out.

    >>> options({"--top-k": 3, "--seeds": None, "--set": ("a=1", "b=2"), "--json": True, "--now": False})
    ['--top-k', '3', '--set', 'a=1', '--set', 'b=2', '--json']
    """
    words: list[str] = []
    for name, value in given.items():
        if value is True:
            words.append(name)
        elif value is not None and value is not False:
            for one in value if isinstance(value, tuple) else (value,):
                words += [name, (uri_of(one) if isinstance(one, Path) else "") or str(one)]
    return words


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where it goes; they are passed on as they are."""
    for option in (
        click.option(
            "--cluster", type=SWEEP_FILE, help="Use the cluster of this file, as `ray up` takes it."
        ),
        click.option("--address", metavar="URL", help="Use this Job API (http://...) or this Ray."),
        click.option(
            "--include",
            multiple=True,
            metavar="PATH",
            help="To a cluster, send this file (or pattern) though it looks like a secret or git ignores it.",
        ),
        click.option("--local", is_flag=True, help="Use this machine."),
    ):
        command = option(command)
    return command


def slurm_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a Slurm job; it gets them as `slurm`, a request or None."""

    @functools.wraps(command)
    def with_request(*args: Any, slurm: bool, **given: Any) -> Any:
        asked = {name: given.pop(name) for name in SLURM}
        if not slurm:
            typed = [name for name, value in asked.items() if value]
            if typed:
                raise click.UsageError(f"--{typed[0].replace('_', '-')} is an option of --slurm; add that")
            return command(*args, slurm=None, **given)
        places = [f"--{name}" for name in (*PLACES, "down") if given.get(name)]
        if places:
            raise click.UsageError(f"--slurm and {places[0]} contradict each other; give one")
        request = SlurmRequest(
            nodes=asked["nodes"] or 1,
            time=asked["time"],
            partition=asked["partition"],
            cpus=asked["cpus_per_node"],
            gpus=asked["gpus_per_node"],
            grace_s=asked["grace"] or GRACE_S,
            sbatch=asked["sbatch"],
        )
        return command(*args, slurm=request, **given)

    for option in SLURM_OPTIONS:
        with_request = option(with_request)
    return with_request
