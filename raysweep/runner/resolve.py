"""What a sweep file leaves to be chosen before a sweep begins, chosen: its resources, its budget."""

from __future__ import annotations

from pathlib import Path

from raysweep.cluster.target import Target
from raysweep.config import Sweep
from raysweep.runner.common import echo_err, slots_of


def resolve_sweep(sweep: Sweep, target: Target, file: Path) -> tuple[Sweep, dict[str, str]]:
    """The sweep as it will run, and what was chosen, by key, in a line each, which is printed too.

    Raises:
        NotFit: if nothing could be measured, or nothing fits.
        SweepError: if the budget holds no trial.
        CannotReplay: if a budget is to be held by a trial scheduler that cannot be replayed.
        RunError: if the data cannot be loaded.
    """
    said: dict[str, str] = {}
    if sweep.resources_per_trial.auto:
        from raysweep.planning.auto_resources import choose_resources

        with slots_of(sweep, target) as place:
            sweep, said["resources_per_trial"] = choose_resources(sweep, place)
    if sweep.budget is not None:
        from raysweep.planning.budget import fit_budget
        from raysweep.planning.cost_basis import measure_cost_basis

        with slots_of(sweep, target) as place:
            epoch_s = None if sweep.budget.hours is not None else 1.0  # epochs are counted, not timed
            by = measure_cost_basis(sweep, lambda: place, epoch_s=epoch_s)
        chosen = fit_budget(sweep, by.costs, by.draw, str(file))
        sweep, said["budget"] = chosen.sweep, chosen.why
    for key, words in said.items():
        echo_err(f"{key}: {words}")
    return sweep, said
