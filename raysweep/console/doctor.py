"""The checks of `launch.py doctor` and `launch.py preflight`, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from raysweep.cluster.doctor import MachineCheck
    from raysweep.preflight.check import PreflightCheck

STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def print_checks(console: Console, checks: Sequence[MachineCheck | PreflightCheck]) -> None:
    """Print a line for each check, with its fix below, and the number of problems."""
    table = Table(box=None, header_style="dim", show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        message = Text(check.message)
        if check.fix:
            message.append(f"\n{check.fix}", "bold")
        table.add_row(Text(check.state, STYLES[check.state]), Text(check.name, "dim"), message)
    console.print(table)
    problems = sum(check.state == "problem" for check in checks)
    console.print(f"{problems or 'no'} problem{'s' if problems != 1 else ''}", highlight=False)
