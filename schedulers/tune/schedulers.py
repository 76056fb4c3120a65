"""A Ray Tune scheduler for each rule: `ASHA`, `PBT`, `PFL`, ..."""

from __future__ import annotations

import importlib
import inspect

from schedulers import RULES
from schedulers.tune.adapter import RuleScheduler as RuleScheduler


def _face(name: str, path: str) -> type[RuleScheduler]:
    """A rule as a Ray Tune scheduler: `RuleScheduler` that builds the rule from its own arguments."""
    module, _, rule_name = path.rpartition(".")
    rule = getattr(importlib.import_module(module), rule_name)
    summary = (inspect.getdoc(rule) or name).partition("\n")[0]
    words = f"{summary}\n\n`{path}` as a Ray Tune scheduler; arguments as there and as of `RuleScheduler`."
    # __module__: pickled by reference, as schedulers.tune.schedulers.ASHA.
    return type(name, (RuleScheduler,), {"rule_class": rule, "__module__": __name__, "__doc__": words})


# The faces: schedulers.ASHA, schedulers.PBT, ... one a rule.
globals().update({name: _face(name, path) for name, path in RULES.items()})
