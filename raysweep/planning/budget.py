"""`budget:`: how many trials, of how many epochs, under which trial scheduler, so that all of it fits.

What the file gives stays as it is; the rest is chosen, the longest trainings first that leave room for the
trials that so many parameters want (`raysweep.planning.strategy`), nobody stopped before ASHA. A share of the
budget is set aside for the retraining.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from raysweep.advice.rule import is_grid
from raysweep.config import Problem, Sweep, SweepError
from raysweep.config.checks import cells
from raysweep.config.component import Component
from raysweep.formatting import duration
from raysweep.planning.curve_prior import Draw
from raysweep.planning.plan import (
    RETRAINED,
    SEEDS,
    START_S,
    Costs,
    epoch_seconds,
    expected_shares,
    retrain_s,
    trial_seconds,
)
from raysweep.planning.strategy import recommend

LONGEST = (81, 27, 9)
"""Epochs to choose from, where the file leaves it open: ASHA's rungs, a ninth and a third, are whole."""

MOST_FOR_THE_RETRAINING = 0.5
POPULATION = 32
"""Members of a population at most; more of them are no better, they are more to train."""


@dataclass(frozen=True, slots=True)
class BudgetChoice:
    """What a budget comes to.

    Attributes:
        sweep: with it, and without `budget`.
        share: of all epochs, that is expected to run at most.
        reserve: for the retraining, in the budget's own unit (seconds, epochs).
        why: in a line.
    """

    sweep: Sweep
    share: float
    reserve: float
    why: str


def fit_budget(sweep: Sweep, costs: Costs, draw: Draw, file: str) -> BudgetChoice:
    """The sweep with what its budget holds.

    Args:
        sweep: has a budget.
        costs: what things take; of a budget in epochs, the slots alone count.
        draw: (trials, epochs, generator) -> curves.
        file: for messages.

    Raises:
        SweepError: if not one trial fits.
        CannotReplay: if the trial scheduler has no rule that could be replayed.
    """
    assert sweep.budget is not None, "asked of a sweep with a budget only"
    wanted = sweep.trials if "trials" in sweep.model_fields_set else _wanted(sweep)
    best: tuple[int, BudgetChoice] | None = None
    for candidate in _candidates(sweep):
        fits, chosen = _filled(candidate, wanted, costs, draw)
        if best is None or fits > best[0]:
            best = fits, chosen
        if fits >= wanted:
            break
    assert best is not None, "a sweep has epochs and a trial scheduler"
    fits, chosen = best
    if fits < 1:
        given = _in_words(sweep)
        what = f"{given} hold no trial beside the retraining of the best"
        raise SweepError([Problem(file, None, "budget", what, "give more, or fewer run.epochs")])
    return chosen


def _candidates(sweep: Sweep) -> Iterator[Sweep]:
    """The sweep with each length and trial scheduler that may be chosen, the dearest first."""
    given = "epochs" in sweep.run.model_fields_set
    for epochs in (sweep.run.epochs,) if given else LONGEST:
        run = sweep.run.model_copy(update={"epochs": epochs})
        halving = Component(
            name="schedulers.ASHA",
            kwargs={"grace_period": max(1, epochs // 9), "reduction_factor": 3},
        )
        stoppers: tuple[Component, ...] = (sweep.trial_scheduler,)
        if "trial_scheduler" not in sweep.model_fields_set:
            stoppers = (Component(name="schedulers.FIFO"), halving)
        for stopper in stoppers:
            yield sweep.model_copy(update={"run": run, "trial_scheduler": stopper})


def _filled(sweep: Sweep, wanted: int, costs: Costs, draw: Draw) -> tuple[int, BudgetChoice]:
    """How many trials fit, and the sweep with as many of them as are wanted."""
    budget = sweep.budget
    assert budget is not None, "a candidate is a sweep with a budget"
    epochs, room, reserve = sweep.run.epochs, 0.0, 0.0
    if budget.hours is not None:
        reserve = min(retrain_s(sweep, costs), MOST_FOR_THE_RETRAINING * budget.hours * 3600)
        room = max(0.0, budget.hours * 3600 - reserve - START_S) * costs.slots
    elif budget.epochs is not None:
        reserve = min(RETRAINED * SEEDS * epochs, int(MOST_FOR_THE_RETRAINING * budget.epochs))
        room = budget.epochs - reserve
    fits, share = wanted, 1.0
    for trials in (wanted, 0):  # the fewer trials, the larger the share of those that go on
        tried = sweep.model_copy(update={"trials": trials or max(1, min(fits, wanted))})
        share = max(expected_shares(tried, costs, draw))
        each = share * epochs
        if budget.hours is not None:
            each = trial_seconds(share * epochs, epoch_seconds(costs))
        fits = math.floor(room / each)
    trials = sweep.trials if "trials" in sweep.model_fields_set else max(1, min(fits, wanted))
    return fits, _chosen(sweep, trials, share, reserve, fits)


def _chosen(sweep: Sweep, trials: int, share: float, reserve: float, fits: int) -> BudgetChoice:
    """The sweep as it will run, and what that is in a line."""
    hours = sweep.budget.hours if sweep.budget else None
    changes: dict[str, Any] = {"trials": trials, "budget": None}
    aside = f"{reserve:.0f} epochs"
    if hours is not None:
        aside = duration(reserve)
        changes["time_budget_s"] = sweep.time_budget_s or hours * 3600 - reserve
    name = sweep.trial_scheduler.name
    why = (
        f"{_in_words(sweep)}: {trials} trials of at most {sweep.run.epochs} epochs under {name}, "
        f"{share:.0%} of them run at most; {aside} are left for the retraining"
    )
    if trials > fits:
        why += f"; {fits} would fit, but `trials` is given"
    return BudgetChoice(sweep.model_copy(update=changes), share, reserve, why)


def _wanted(sweep: Sweep) -> int:
    """Trials that the search wants."""
    if is_grid(sweep):
        return math.prod(cells(domain) or 1 for domain in sweep.space.values())
    trials = recommend(max(len(sweep.search_space), 1), 10.0).trials
    return min(trials, POPULATION) if sweep.trial_scheduler.name == "schedulers.PBT" else trials


def _in_words(sweep: Sweep) -> str:
    """The budget."""
    budget = sweep.budget
    if budget is None:
        return ""
    return (
        f"budget of {budget.hours:g} h" if budget.hours is not None else f"budget of {budget.epochs} epochs"
    )
