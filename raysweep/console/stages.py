"""A staged sweep for human eyes: what a stage begins with, and what the stages have come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from raysweep.console.formatting import number, settings
from raysweep.console.rows import print_row


def print_stage(console: Console, lines: Sequence[str]) -> None:
    """Print what was made of the stages before it."""
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def print_stages(console: Console, status: Mapping[str, Any]) -> None:
    """Print the stages of a study and its incumbent; `status` as its status.json has it."""
    console.print()
    console.print(stages_table(status))
    print_row(
        console,
        "study",
        f"{status['study']}: {status['reason']}",
        "bold green" if status["exit_code"] == 0 else "bold yellow",
    )
    if status["best"]:
        print_row(console, "best", best_line(status), "bold")


def stages_table(status: Mapping[str, Any]) -> Table:
    """A row for each stage."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("stage", "kind", "state", "trials", "epochs", f"best {status['metric']}"):
        table.add_column(heading, no_wrap=True)
    for one in status["stages"]:
        trials, best = one["trials"], one["best"]
        count = f"{trials.get('asked', 0)}/{trials['wanted']}" if trials.get("wanted") else "-"
        value = f"{number(best['value'])} ({_who(best)})" if best else "-"
        table.add_row(one["name"], one["kind"], one["state"], count, str(one["epochs"] or "-"), value)
    return table


def best_line(status: Mapping[str, Any]) -> str:
    """The incumbent of a staged study in one line."""
    best = status["best"]
    value = f"{status['metric']} {number(best['value'])}"
    if best["status"] == "validated":
        spread = "" if best["std"] is None else f" ± {best['std']:.2g}"
        value += f"{spread} over {best['seeds']} seeds"
    else:
        value += f" at epoch {best['epoch']}"
    return f"{_who(best)}, stage {best['stage']}: {value}  {settings(best['config'])}"


def _who(best: Mapping[str, Any]) -> str:
    """What a best is: a trial, or the run that was there before the search."""
    return "the run as it was" if best["trial"] == "baseline" else f"trial {int(best['trial'])}"
