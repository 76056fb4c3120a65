"""Options that several commands share."""

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
    help="Run the code of a study that you did not make on this machine; needed once a study.",
)
JSON = click.option("--json", "wants_json", is_flag=True, help="Print JSON, for programs.")
DOWN = click.option("--down", is_flag=True, help="End the cluster (`ray down`) after its last sweep.")
PLACES = ("local", "address", "cluster", "include")
POSITIVE = click.IntRange(1)
SLURM_OPTIONS = (
    click.option("--sbatch", multiple=True, metavar="OPTION", help="Other option: --sbatch=--account=LAB."),
    click.option(
        "--grace", type=click.IntRange(30), help=f"Seconds before the time limit to stop at; {GRACE_S}."
    ),
    click.option("--gpus-per-node", type=POSITIVE, help="GPUs of each node."),
    click.option("--cpus-per-node", type=POSITIVE, help="Cores of each node; with neither, whole nodes."),
    click.option("--partition", help="Slurm's partition."),
    click.option("--time", help="Limit of one allocation: 90 (minutes), 4:00:00, 1-12 (days-hours)."),
    click.option("--nodes", type=POSITIVE, help="Slurm nodes; 1."),
    click.option("--slurm", is_flag=True, help="Run as a Slurm job that requeues itself until all is done."),
)
SLURM = ("nodes", "time", "partition", "cpus_per_node", "gpus_per_node", "grace", "sbatch")


def options(given: Mapping[str, Any]) -> list[str]:
    """Options as command-line arguments, without those that were not given.

    >>> options({"--top-k": 3, "--seeds": None, "--set": ("a=1", "b=2"), "--json": True, "--now": False})
    ['--top-k', '3', '--set', 'a=1', '--set', 'b=2', '--json']
    """
    args: list[str] = []
    for name, value in given.items():
        if value is True:
            args.append(name)
        elif value is not None and value is not False:
            for one in value if isinstance(value, tuple) else (value,):
                args += [name, (uri_of(one) if isinstance(one, Path) else "") or str(one)]
    return args


def file_changes(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that change a sweep file for one command."""
    second = click.option("--optimize-config", type=SWEEP_FILE, help="The training template's second file.")
    return click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as `run` does."
    )(second(command))


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where a command runs."""
    for option in (
        click.option(
            "--cluster", type=SWEEP_FILE, help="Use the cluster of this file, in the format of `ray up`."
        ),
        click.option("--address", metavar="URL", help="Use this Job API (http://...) or this Ray."),
        click.option(
            "--include",
            multiple=True,
            metavar="PATH",
            help="Upload this file (or pattern) to a cluster although git ignores it or it looks secret.",
        ),
        click.option("--local", is_flag=True, help="Use this machine."),
    ):
        command = option(command)
    return command


def slurm_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a Slurm job; the command gets them as `slurm`, a request or None."""

    @functools.wraps(command)
    def with_request(*args: Any, slurm: bool, **given: Any) -> Any:
        settings = {name: given.pop(name) for name in SLURM}
        if not slurm:
            names = [name for name, value in settings.items() if value]
            if names:
                raise click.UsageError(f"--{names[0].replace('_', '-')} is an option of --slurm; add that")
            return command(*args, slurm=None, **given)
        places = [f"--{name}" for name in (*PLACES, "down") if given.get(name)]
        if places:
            raise click.UsageError(f"--slurm and {places[0]} contradict each other; give one")
        request = SlurmRequest(
            nodes=settings["nodes"] or 1,
            time=settings["time"],
            partition=settings["partition"],
            cpus=settings["cpus_per_node"],
            gpus=settings["gpus_per_node"],
            grace_s=settings["grace"] or GRACE_S,
            sbatch=settings["sbatch"],
        )
        return command(*args, slurm=request, **given)

    for option in SLURM_OPTIONS:
        with_request = option(with_request)
    return with_request
