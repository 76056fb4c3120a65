"""A staged sweep as text: what a stage begins with, and the results of the stages."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from raysweep.console.formatting import number, settings
from raysweep.console.rows import print_row
from raysweep.study.journal.status_fields import BestFields, StudyStatus


def print_stage(console: Console, lines: Sequence[str]) -> None:
    """Print what a stage was made from."""
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def print_stages(console: Console, status: StudyStatus, exit_code: int, reason: str) -> None:
    """Print the stages of a study, how the attempt ended, and the best configuration."""
    console.print()
    console.print(stages_table(status))
    print_row(
        console,
        "study",
        f"{status['study']}: {reason}",
        "bold green" if exit_code == 0 else "bold yellow",
    )
    if status["best"]:
        print_row(console, "best", best_line(status["best"], status["metric"]), "bold")


def stages_table(status: StudyStatus) -> Table:
    """A row for each stage."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("stage", "kind", "state", "trials", "epochs", f"best {status['metric']}"):
        table.add_column(heading, no_wrap=True)
    for stage in status["stages"]:
        trials, best = stage["trials"], stage["best"]
        count = f"{trials.get('asked', 0)}/{trials['wanted']}" if trials.get("wanted") else "-"
        value = f"{number(best['value'])} ({_trial_or_baseline(best)})" if best else "-"
        epochs = str(stage["epochs"] or "-")
        table.add_row(stage["name"], stage["kind"], stage["state"], count, epochs, value)
    return table


def best_line(best: BestFields, metric: str) -> str:
    """The best configuration of a staged study, in one line."""
    value = f"{metric} {number(best['value'])}"
    if best["status"] == "validated":
        spread = "" if best["std"] is None else f", std {best['std']:.2g}"
        value += f" (mean of {best['seeds']} seeds{spread})"
    else:
        value += f" at epoch {best['epoch']}"
    return f"{_trial_or_baseline(best)}, stage {best['stage']}: {value}  {settings(best['config'])}"


def _trial_or_baseline(best: BestFields) -> str:
    return "the run as it was" if best["trial"] == "baseline" else f"trial {int(best['trial'])}"
