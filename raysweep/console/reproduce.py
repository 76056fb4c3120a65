"""What `launch.py reproduce` prints about a trial that was run again."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from raysweep.console.rows import print_row
from raysweep.study.journal.records import TrialRecord
from raysweep.study.results.reproduce import Difference


def print_reproduction(
    console: Console,
    trial: TrialRecord,
    epochs: int,
    difference: Difference | None,
    causes: Sequence[str],
) -> None:
    """Print whether the curve is the same, and what has changed since.

    Args:
        console: where to print.
        trial: as recorded.
        epochs: how many were compared.
        difference: where the curves begin to differ; None if they are equal.
        causes: what has changed, see `raysweep.study.results.reproduce.causes`.
    """
    if trial.lineage:
        copies = ", ".join(f"from trial {int(step.donor)} at epoch {step.epoch}" for step in trial.lineage)
        print_row(console, "lineage", f"copied {copies}: the whole schedule of its weights was run")
    if difference is None:
        print_row(console, "same", f"trial {trial.number}: {epochs} epochs, bit for bit", "bold green")
    else:
        numbers = f"{difference.metric} {difference.then!r} then, {difference.now!r} now"
        print_row(
            console,
            "differs",
            f"trial {trial.number}: from epoch {difference.epoch} on, {numbers}",
            "bold yellow",
        )
    for cause in causes:
        print_row(console, "changed", cause)
    if difference is not None and not causes:
        nothing = "nothing recorded (code, versions, data, machine): check the net's or the data's randomness"
        print_row(console, "changed", nothing)
