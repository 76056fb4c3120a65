"""What is printed of a trial that was run again."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from service.study.record import TrialRecord
from service.study.reproduce import Difference
from service.view.rows import put


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
        causes: what is not as it was, see `service.study.reproduce.causes`.
    """
    if trial.lineage:
        copies = ", ".join(f"from trial {int(step.donor)} at epoch {step.epoch}" for step in trial.lineage)
        put(console, "lineage", f"copied {copies}: its weights' whole schedule was run")
    if difference is None:
        put(console, "same", f"trial {trial.number}: {epochs} epochs, bit for bit", "bold green")
    else:
        numbers = f"{difference.metric} {difference.then!r} then, {difference.now!r} now"
        put(
            console,
            "differs",
            f"trial {trial.number}: from epoch {difference.epoch} on, {numbers}",
            "bold yellow",
        )
    for cause in causes:
        put(console, "changed", cause)
    if difference is not None and not causes:
        known = (
            "code, versions, data and machine are as recorded: look at the net's or the data's own randomness"
        )
        put(console, "changed", known)
