"""Options that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

SWEEP_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
RUNS = click.option(
    "--runs",
    type=FOLDER,
    default="runs",
    show_default=True,
    envvar="SWEEPS_STORAGE",
    help="Where studies are.",
)


def placed(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where it goes; all three are passed on as they are."""
    for option in (
        click.option("--cluster", type=SWEEP_FILE, help="On the cluster of this file, as `ray up` takes it."),
        click.option("--address", metavar="URL", help="At this Job API (http://...) or this Ray."),
        click.option("--local", is_flag=True, help="On this machine."),
    ):
        command = option(command)
    return command
