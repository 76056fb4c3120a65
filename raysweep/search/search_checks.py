"""Whether a sweep can be searched as it says: asked before anything runs."""

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
    is_grid,
    sampler_class,
    takes_constraints,
)

WHOLE_ONLY = (GPSampler, BaseGASampler)
"""Samplers that learn from trials that ran to their end, and from no others."""
ALONE = ("schedulers.FIFO", "schedulers.Patience")
"""Trial schedulers that judge a trial by itself: what it comes to does not depend on who was faster."""


class Unsearchable(ValueError):
    """A sweep that cannot be searched as it says.

    Attributes:
        key: of the sweep file, that has to be fixed.
    """

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


def check_search(sweep: Sweep) -> tuple[str, ...]:
    """What of a sweep's search may surprise its user, a sentence each.

    Raises:
        Unsearchable: if it cannot be.
    """
    if not sweep.search_space or not sweep.sampler.name.startswith("optuna."):
        return tuple(_of_the_rule(sweep))  # a user's own sampler is not imported before it runs
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
        fix = "drop points_to_evaluate, or use optuna.samplers.BruteForceSampler, which takes them first"
        raise Unsearchable("points_to_evaluate", f"{name} goes over its grid and nothing else; {fix}")
    return (*notes, *_of_the_space(sweep, space), *_of_the_sampler(sweep), *_of_the_rule(sweep))


def duplicates_of(sweep: Sweep) -> Duplicates:
    """What becomes of a configuration tried before: as the file says, or what is usual.

    Its curve would be the same, number by number, so another is drawn; but a population's members go
    different ways from the same beginning.
    """
    usual: Duplicates = "allow" if sweep.trial_scheduler.name == "schedulers.PBT" else "skip"
    return sweep.duplicates or usual


def _of_the_space(sweep: Sweep, space: OptunaSpace) -> Iterator[str]:
    name, cells = sweep.sampler.name, space.listable
    exhaustive = exhaustive_cells(name, sweep.sampler.kwargs, space) is not None  # said with the grid
    if cells is not None and cells < sweep.trials and duplicates_of(sweep) == "skip" and not exhaustive:
        yield (
            f"there are only {cells} configurations: the study ends when all were tried;"
            " 'duplicates: replicate' would run them again under other seeds"
        )


def _of_the_sampler(sweep: Sweep) -> Iterator[str]:
    name = sweep.sampler.name
    if sweep.constraints and not takes_constraints(name):
        yield (
            f"{name} knows no constraints: a trial that breaks one ends at its first epoch and counts as bad;"
            " optuna.samplers.TPESampler keeps away from the bound itself"
        )
    stops = sweep.trial_scheduler.name
    if issubclass(sampler_class(name), WHOLE_ONLY) and stops not in ALONE:
        yield (
            f"{name} learns from whole trials only, and {stops} ends most before that;"
            " optuna.samplers.TPESampler learns from stopped ones too"
        )


def _of_the_rule(sweep: Sweep) -> Iterator[str]:
    stops = sweep.trial_scheduler.name
    if len(sweep.metrics) > 1 and stops != "schedulers.FIFO":
        yield f"{stops} goes by {sweep.metric} alone, the first of the metrics"
    if sweep.ordered and stops not in ALONE:
        yield (
            f"'ordered' makes proposals follow from results, and {stops} stops trials by what others had"
            " reported by then: two runs propose the same as long as they stop the same"
        )
