"""Checks of a sweep's search before it runs."""

from __future__ import annotations

from collections.abc import Iterator

from optuna.samplers import GPSampler
from optuna.samplers._ga import BaseGASampler

from raysweep.config import Sweep
from raysweep.search.initial_points import check_point
from raysweep.search.optuna_searcher import Duplicates
from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.samplers import (
    check_sampler,
    exhaustive_cells,
    grid_with_points,
    is_grid,
    sampler_class,
    takes_constraints,
)

WHOLE_ONLY = (GPSampler, BaseGASampler)
"""Samplers that learn from completed trials only."""
ALONE = ("schedulers.FIFO", "schedulers.Patience")
"""Trial schedulers that judge each trial by itself, so that its result does not depend on others' speed."""


class Unsearchable(ValueError):
    """A sweep whose search is not possible.

    Attributes:
        key: of the sweep file that has to be changed.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


Note = tuple[str, str]
"""A key of the sweep file, and a sentence about it."""


def check_search(sweep: Sweep) -> tuple[Note, ...]:
    """Check a sweep's search; returns notes on what may surprise its user.

    Raises:
        Unsearchable: if it is not possible.
    """
    if not sweep.search_space or not sweep.sampler.name.startswith("optuna."):
        return tuple(_scheduler_notes(sweep))  # a user's own sampler is not imported before it runs
    space = OptunaSpace.of(sweep.search_space)
    name, kwargs = sweep.sampler.name, sweep.sampler.kwargs
    try:
        notes = check_sampler(name, kwargs, space, len(sweep.metrics))
    except ValueError as error:
        raise Unsearchable("sampler", str(error)) from None
    try:
        for point in sweep.points_to_evaluate:
            check_point(space, point)
    except ValueError as error:
        raise Unsearchable("points_to_evaluate", str(error).partition(": ")[2]) from None
    if is_grid(name) and sweep.points_to_evaluate:
        raise Unsearchable("points_to_evaluate", grid_with_points(name))
    own = (("sampler", note) for note in notes)
    return (*own, *_space_notes(sweep, space), *_sampler_notes(sweep), *_scheduler_notes(sweep))


def duplicates_of(sweep: Sweep) -> Duplicates:
    """How the sweep handles duplicate configurations: as in the file, or by default.

    By default they are skipped, since their curves would be equal; but members of a population develop
    differently from the same start.
    """
    default: Duplicates = "allow" if sweep.trial_scheduler.name == "schedulers.PBT" else "skip"
    return sweep.duplicates or default


def _space_notes(sweep: Sweep, space: OptunaSpace) -> Iterator[Note]:
    name, cells = sweep.sampler.name, space.listable
    exhaustive = exhaustive_cells(name, sweep.sampler.kwargs, space) is not None  # where this is intended
    if cells is not None and cells < sweep.trials and duplicates_of(sweep) == "skip" and not exhaustive:
        yield (
            "trials",
            f"there are only {cells} configurations: the study ends when all were tried;"
            " 'duplicates: replicate' would run them again with other seeds",
        )


def _sampler_notes(sweep: Sweep) -> Iterator[Note]:
    name = sweep.sampler.name
    if sweep.constraints and not takes_constraints(name):
        yield (
            "sampler",
            f"{name} ignores constraints: a trial that breaks one ends at its first epoch and counts as bad;"
            " optuna.samplers.TPESampler avoids such configurations",
        )
    scheduler = sweep.trial_scheduler.name
    if issubclass(sampler_class(name), WHOLE_ONLY) and scheduler not in ALONE:
        yield (
            "sampler",
            f"{name} learns from completed trials only, and {scheduler} stops most trials before;"
            " optuna.samplers.TPESampler also learns from stopped ones",
        )


def _scheduler_notes(sweep: Sweep) -> Iterator[Note]:
    scheduler = sweep.trial_scheduler.name
    if len(sweep.metrics) > 1 and scheduler != "schedulers.FIFO":
        yield "trial_scheduler", f"{scheduler} uses {sweep.metric} only, the first of the metrics"
    if sweep.ordered and scheduler not in ALONE:
        yield (
            "ordered",
            f"'ordered' makes proposals depend on results only, but {scheduler} stops trials by what others"
            " have reported by then: two runs propose the same as long as they stop the same trials",
        )
