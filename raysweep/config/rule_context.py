"""What a sweep fills into a trial scheduler's rule, beside the settings that its file gives."""

from __future__ import annotations

import inspect
from typing import Any

from raysweep.config.sweep import Sweep

RULE_CONTEXT = ("seed", "space", "max_resource", "objective", "population_size")
"""Constructor parameters of a rule that are filled in, where it has them."""


def rule_context(rule: type, sweep: Sweep, **instead: Any) -> dict[str, Any]:
    """What a rule's constructor takes of the sweep.

    Args:
        rule: its class.
        sweep: that it decides in.
        instead: values of `RULE_CONTEXT` that are not the sweep's own.
    """
    values = {
        "seed": sweep.seed,
        "space": sweep.space,
        "max_resource": sweep.run.epochs,
        "objective": sweep.objective,
        "population_size": sweep.trials,
    }
    known = inspect.signature(rule).parameters
    return {word: value for word, value in (values | instead).items() if word in known}
