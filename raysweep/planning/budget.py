"""`budget:`: chooses the number of trials, their epochs and the trial scheduler so that all of it fits.

What the file gives stays as it is. Of the rest, the longest trainings are chosen that leave room for the
trials that so many parameters need (`raysweep.planning.strategy`), without early stopping or else with ASHA.
A share of the budget is set aside for the retraining.
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
from raysweep.formatting import duration, sweep_size
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
"""Epochs to choose from if the file gives none; ASHA's rungs, at a ninth and a third, are whole numbers."""

MOST_FOR_THE_RETRAINING = 0.5
POPULATION = 32
"""The most members of a population; more are not better, only more expensive."""


@dataclass(frozen=True, slots=True)
class BudgetChoice:
    """What was chosen for a budget.

    Attributes:
        sweep: with the choices made, and without `budget`.
        share: the largest share of all epochs that is expected to run.
        reserve: for the retraining, in the budget's own unit (seconds, epochs).
        why: the reason, in one line.
    """

    sweep: Sweep
    share: float
    reserve: float
    why: str


def fit_budget(sweep: Sweep, costs: Costs, draw: Draw, file: str) -> BudgetChoice:
    """Choose trials, epochs and trial scheduler so that the sweep fits into its budget.

    Args:
        sweep: has a budget.
        costs: seconds and slots; for a budget in epochs, only the slots matter.
        draw: (trials, epochs, generator) -> curves.
        file: for messages.

    Raises:
        SweepError: if not one trial fits.
        CannotReplay: if the trial scheduler has no rule that can be replayed.
    """
    assert sweep.budget is not None, "called only for a sweep with a budget"
    wanted = sweep.trials if "trials" in sweep.model_fields_set else _wanted(sweep)
    best: tuple[int, BudgetChoice] | None = None
    for candidate in _candidates(sweep):
        fits, choice = _fill(candidate, wanted, costs, draw)
        if best is None or fits > best[0]:
            best = fits, choice
        if fits >= wanted:
            break
    assert best is not None, "there is at least one candidate"
    fits, choice = best
    if fits < 1:
        what = f"{_in_words(sweep)} leaves no room for a trial beside the retraining of the best"
        raise SweepError([Problem(file, None, "budget", what, "raise it, or lower run.epochs")])
    return choice


def _candidates(sweep: Sweep) -> Iterator[Sweep]:
    """The sweep with each length and trial scheduler that may be chosen, the most expensive first."""
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


def _fill(sweep: Sweep, wanted: int, costs: Costs, draw: Draw) -> tuple[int, BudgetChoice]:
    """How many trials fit, and the choice with that many, but at most `wanted`."""
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
    for trials in (wanted, 0):  # the fewer trials, the larger the share of them that continues
        candidate = sweep.model_copy(update={"trials": trials or max(1, min(fits, wanted))})
        share = max(expected_shares(candidate, costs, draw))
        each = share * epochs
        if budget.hours is not None:
            each = trial_seconds(share * epochs, epoch_seconds(costs))
        fits = math.floor(room / each)
    trials = sweep.trials if "trials" in sweep.model_fields_set else max(1, min(fits, wanted))
    return fits, _choice(sweep, trials, share, reserve, fits)


def _choice(sweep: Sweep, trials: int, share: float, reserve: float, fits: int) -> BudgetChoice:
    """The sweep as it will run, with the reason in one line."""
    hours = sweep.budget.hours if sweep.budget else None
    changes: dict[str, Any] = {"trials": trials, "budget": None}
    aside = f"{reserve:.0f} epochs"
    if hours is not None:
        aside = duration(reserve)
        changes["time_budget_s"] = sweep.time_budget_s or hours * 3600 - reserve
    name = sweep.trial_scheduler.name
    why = (
        f"{_in_words(sweep)}: {sweep_size(trials, sweep.run.epochs)} under {name}, "
        f"at most {share:.0%} of them run; {aside} are set aside for the retraining"
    )
    if trials > fits:
        why += f"; {fits} would fit, but `trials` is given"
    return BudgetChoice(sweep.model_copy(update=changes), share, reserve, why)


def _wanted(sweep: Sweep) -> int:
    """How many trials the search needs."""
    if is_grid(sweep):
        return math.prod(cells(domain) or 1 for domain in sweep.space.values())
    trials = recommend(max(len(sweep.search_space), 1), 10.0).trials
    return min(trials, POPULATION) if sweep.trial_scheduler.name == "schedulers.PBT" else trials


def _in_words(sweep: Sweep) -> str:
    """The budget as text; "" for a sweep without one."""
    budget = sweep.budget
    if budget is None:
        return ""
    return (
        f"budget of {budget.hours:g} h" if budget.hours is not None else f"budget of {budget.epochs} epochs"
    )
