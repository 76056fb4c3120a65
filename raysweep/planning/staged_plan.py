"""Estimates what a staged sweep will cost, each stage as a sweep over the declared ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raysweep.config import Sweep
from raysweep.config.component import Component
from raysweep.planning.curve_prior import Draw
from raysweep.planning.plan import Costs, Plan, Range, plan

NOTES = ("each stage over the ranges as declared", "a range test takes seconds and is left out")


@dataclass(frozen=True, slots=True)
class StagedPlan:
    """The plans of the stages that train, in their order.

    Attributes:
        stages: by name.
        epochs: of all together.
        seconds: of all together, one after the other.
        cost: of all together; None without a price.
        retrain_s: of `launch.py retrain` after the last search.
        notes: what was assumed.
    """

    stages: Mapping[str, Plan]
    epochs: Range
    seconds: Range
    cost: Range | None
    retrain_s: float
    notes: tuple[str, ...]


def plan_stages(sweep: Sweep, costs: Costs, draw: Draw) -> StagedPlan:
    """Plan every stage that trains.

    Raises:
        CannotReplay: if a trial scheduler has no rule that can be replayed.
    """
    stages = {name: plan(each, costs, draw) for name, each in as_sweeps(sweep).items()}
    plans = list(stages.values())
    priced = [each.cost for each in plans if each.cost is not None]
    last = next(stage.name for stage in reversed(sweep.stages) if stage.searches)
    notes = dict.fromkeys((*NOTES, *(note for each in plans for note in each.notes)))
    return StagedPlan(
        stages=stages,
        epochs=_sum([each.epochs for each in plans]),
        seconds=_sum([each.seconds for each in plans]),
        cost=_sum(priced) if priced else None,
        retrain_s=stages[last].retrain_s,
        notes=tuple(notes),
    )


def as_sweeps(sweep: Sweep) -> dict[str, Sweep]:
    """Each stage that trains as a sweep of its own; a validation as whole trainings."""
    sweeps: dict[str, Sweep] = {}
    last = sweep
    for stage in sweep.stages:
        own = sweep.in_stage(stage)
        if stage.searches:
            sweeps[stage.name] = last = own
        elif stage.kind == "validate":
            epochs = stage.run.get("epochs", last.run.epochs)
            whole = {
                "trials": stage.trainings,
                "trial_scheduler": Component(name="schedulers.FIFO"),
                "run": own.run.model_copy(update={"epochs": epochs}),
            }
            sweeps[stage.name] = own.model_copy(update=whole)
    return sweeps


def _sum(ranges: list[Range]) -> Range:
    return Range(
        sum(one.middle for one in ranges), sum(one.low for one in ranges), sum(one.high for one in ranges)
    )
