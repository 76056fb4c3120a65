"""Options that several commands take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

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
PLACES = ("local", "address", "cluster", "include")


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
