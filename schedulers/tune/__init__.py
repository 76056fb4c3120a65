"""The seam to Ray Tune: `RuleScheduler`, the one adapter, and a face over it for each rule.

What it knows lies in files of its own: `adapter` (what Ray asks and tells), `copies` (weights that go
from one trial to another), `slots` (whose process still starts), `results` (what a result says),
`connections` (what a service lends it). None of them branches on an algorithm's name: what an
algorithm needs, it says through the words of `schedulers.rule`.

Line numbers in them are of ray 2.60.0, tune/execution/tune_controller.py.
"""

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
    # __module__: pickled by reference, as schedulers.tune.ASHA.
    return type(name, (RuleScheduler,), {"rule_class": rule, "__module__": __name__, "__doc__": words})


# The faces: schedulers.ASHA, schedulers.PBT, ... one a rule.
globals().update({name: _face(name, path) for name, path in RULES.items()})
