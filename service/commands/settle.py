"""What a sweep file leaves to be chosen before a sweep begins, chosen: its resources, its budget."""

from __future__ import annotations

from pathlib import Path

from service.cluster.target import Target
from service.commands.common import murmur, place_of
from service.spec import Sweep


def settled(sweep: Sweep, target: Target, file: Path) -> tuple[Sweep, dict[str, str]]:
    """The sweep as it will run, and what was chosen, by key, in a line each, which is printed too.

    Raises:
        NotFit: if nothing could be measured, or nothing fits.
        SweepError: if the budget holds no trial.
        CannotReplay: if a budget is to be held by a trial scheduler that cannot be replayed.
        RunError: if the data cannot be loaded.
    """
    said: dict[str, str] = {}
    if sweep.resources_per_trial.auto:
        from service.before.auto import with_resources

        with place_of(sweep, target) as place:
            sweep, said["resources_per_trial"] = with_resources(sweep, place)
    if sweep.budget is not None:
        from service.before.budget import within_budget
        from service.before.measure import basis

        with place_of(sweep, target) as place:
            epoch_s = None if sweep.budget.hours is not None else 1.0  # epochs are counted, not timed
            by = basis(sweep, lambda: place, epoch_s=epoch_s)
        chosen = within_budget(sweep, by.costs, by.draw, str(file))
        sweep, said["budget"] = chosen.sweep, chosen.why
    for key, words in said.items():
        murmur(f"{key}: {words}")
    return sweep, said
