"""What is printed of a trial that was run again."""

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
    """Say whether the curve is the same, and what has changed since.

    Args:
        console: where.
        trial: as recorded.
        epochs: that were compared.
        difference: where the curves part; None if they are equal.
        causes: what is not as it was, see `raysweep.study.results.reproduce.causes`.
    """
    if trial.lineage:
        copies = ", ".join(f"from trial {int(step.donor)} at epoch {step.epoch}" for step in trial.lineage)
        print_row(console, "lineage", f"copied {copies}: its weights' whole schedule was run")
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
        known = (
            "code, versions, data and machine are as recorded: look at the net's or the data's own randomness"
        )
        print_row(console, "changed", known)
