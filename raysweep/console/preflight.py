"""`launch.py preflight`: what was tried, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from raysweep.console.doctor import print_checks
from raysweep.console.formatting import number, settings
from raysweep.console.rows import print_row

if TYPE_CHECKING:
    from raysweep.preflight.preflight import Preflight


def print_preflight(console: Console, preflight: Preflight) -> None:
    """Print the configurations, the checks and the `--set` that makes the sweep fit.

    Args:
        console: where to print.
        preflight: of a sweep.
    """
    if preflight.dry_runs:
        console.print(_dry_run_table(preflight))
        console.print()
    print_checks(console, preflight.checks)
    if preflight.sets:
        print_row(console, "what fits", f"--set {preflight.sets}", "bold")


def _dry_run_table(preflight: Preflight) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("configuration", "", "val_loss", "s/epoch", "MiB", "parameters"):
        table.add_column(
            heading, no_wrap=True, justify="left" if heading in ("configuration", "") else "right"
        )
    table.add_column("settings", overflow="fold")
    for name, run in preflight.dry_runs.items():
        style = {"ran": "green", "diverged": "yellow", "slow": "yellow"}.get(run.outcome, "bold red")
        measured = ("-", "-", "-", "-")
        if run.outcome == "ran":
            loss, seconds = number(run.val_losses[-1]), f"{run.epoch_s:.2g}"
            measured = (loss, seconds, f"{run.memory_mb:.0f}", str(run.parameters))
        config = settings(_shorten_classes(preflight.configs[name]))
        table.add_row(name, Text(run.outcome, style), *measured, config)
    return table


def _shorten_classes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with dotted paths cut to their last part to fit the table."""
    dotted = ("net", "optimizer", "scheduler", "criterion", "data")
    return {key: str(value).rpartition(".")[2] if key in dotted else value for key, value in config.items()}
