"""The constructor arguments that a sweep fills into a trial scheduler's rule."""

from __future__ import annotations

import inspect
from typing import Any

from raysweep.config.sweep import Sweep

RULE_CONTEXT = ("seed", "space", "max_resource", "objective", "population_size")
"""Constructor parameters of a rule that are filled in, if it has them."""


def rule_context(rule: type, sweep: Sweep, **overrides: Any) -> dict[str, Any]:
    """The arguments that a rule's constructor gets from the sweep.

    Args:
        rule: its class.
        sweep: in which it decides.
        overrides: values of `RULE_CONTEXT` other than the sweep's own.
    """
    values = {
        "seed": sweep.seed,
        "space": sweep.space,
        "max_resource": sweep.run.epochs,
        "objective": sweep.objective,
        "population_size": sweep.trials,
    }
    parameters = inspect.signature(rule).parameters
    return {key: value for key, value in (values | overrides).items() if key in parameters}
