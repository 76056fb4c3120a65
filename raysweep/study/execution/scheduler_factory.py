"""The trial scheduler of a sweep, in front of Ray Tune."""

from __future__ import annotations

import inspect

from raysweep.config import Sweep
from schedulers.tune.adapter import RuleScheduler


def make_scheduler(sweep: Sweep) -> RuleScheduler:
    """The sweep's trial scheduler; what its constructor asks for and the file does not say is filled in."""
    face = sweep.trial_scheduler.load(sweep.import_paths)
    if getattr(face, "rule_class", None) is None:
        raise TypeError(f"{sweep.trial_scheduler.name} has no rule that could be replayed from the journal")
    offered = {
        "seed": sweep.seed,
        "space": sweep.space,
        "max_resource": sweep.run.epochs,
        "objective": sweep.objective,
        "population_size": sweep.trials,
    }
    known = inspect.signature(face.rule_class).parameters
    context = {key: value for key, value in offered.items() if key in known}
    if "audit_fraction" in sweep.trial_scheduler.kwargs:
        context["audit_seed"] = sweep.seed
    mode = "min" if sweep.direction == "minimize" else "max"
    scheduler: RuleScheduler = face(
        **{**context, **sweep.trial_scheduler.kwargs}, metric=sweep.metric, mode=mode, time_attr="epoch"
    )
    return scheduler
