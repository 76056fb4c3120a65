"""`launch.py doctor`: what was looked at, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def print_checks(console: Console, checks: Sequence[Mapping[str, str]]) -> None:
    """Print one line a check, what mends it below, and how many problems there are."""
    table = Table(box=None, header_style="dim", show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        says = Text(check["says"])
        if check["mend"]:
            says.append(f"\n{check['mend']}", "bold")
        table.add_row(Text(check["state"], STYLES[check["state"]]), Text(check["name"], "dim"), says)
    console.print(table)
    problems = sum(check["state"] == "problem" for check in checks)
    console.print(
        f"{problems} problem{'s' if problems != 1 else ''}" if problems else "all well", highlight=False
    )
