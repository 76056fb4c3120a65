"""What a staged sweep will come to: each stage planned as a sweep over the declared ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

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

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return asdict(self)


def plan_stages(sweep: Sweep, costs: Costs, draw: Draw) -> StagedPlan:
    """Plan every stage that trains.

    Raises:
        CannotReplay: if a trial scheduler has no rule that could be replayed.
    """
    plans = {name: plan(each, costs, draw) for name, each in as_sweeps(sweep).items()}
    each = list(plans.values())
    priced = [one.cost for one in each if one.cost is not None]
    last = next(stage.name for stage in reversed(sweep.stages) if stage.searches)
    notes = dict.fromkeys((*NOTES, *(note for one in each for note in one.notes)))
    return StagedPlan(
        stages=plans,
        epochs=_sum([one.epochs for one in each]),
        seconds=_sum([one.seconds for one in each]),
        cost=_sum(priced) if priced else None,
        retrain_s=plans[last].retrain_s,
        notes=tuple(notes),
    )


def as_sweeps(sweep: Sweep) -> dict[str, Sweep]:
    """Each stage that trains as a sweep by itself; a validation as so many whole trainings."""
    found: dict[str, Sweep] = {}
    last = sweep
    for stage in sweep.stages:
        mine = sweep.in_stage(stage)
        if stage.searches:
            found[stage.name] = last = mine
        elif stage.kind == "validate":
            epochs = stage.run.get("epochs", last.run.epochs)
            whole = {
                "trials": stage.trainings,
                "trial_scheduler": Component(name="schedulers.FIFO"),
                "run": mine.run.model_copy(update={"epochs": epochs}),
            }
            found[stage.name] = mine.model_copy(update=whole)
    return found


def _sum(ranges: list[Range]) -> Range:
    return Range(
        sum(one.middle for one in ranges), sum(one.low for one in ranges), sum(one.high for one in ranges)
    )
