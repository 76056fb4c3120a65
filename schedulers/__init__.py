"""Trial schedulers: pure rules that decide which trials go on, and scheduler classes for Ray Tune.

A rule (`ASHARule`, ...) needs numpy alone. A scheduler class (`ASHA`, ...) is the same rule as a
`ray.tune.schedulers.TrialScheduler`, for `tune.TuneConfig(scheduler=schedulers.ASHA(...))`; Ray is
imported only when the first such class is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from schedulers.asha import ASHARule
from schedulers.classic_pfl import ClassicPFLRule
from schedulers.fifo import FIFORule
from schedulers.hyperband import HyperbandRule, SuccessiveHalvingRule
from schedulers.margin import MarginRule
from schedulers.median import MedianStoppingRule
from schedulers.patience import PatienceRule
from schedulers.pbt import PBTRule
from schedulers.pfl import PFLRule
from schedulers.racing import RacingRule
from schedulers.rule import Continue, Decision, Exploit, Pause, Report, Resume, Rule, Stop
from schedulers.space import Categorical, Domain, Float, Int
from schedulers.tune.listener import Listener

if TYPE_CHECKING:
    from schedulers.tune.adapter import RuleScheduler as RuleScheduler
    from schedulers.tune.schedulers import ASHA as ASHA
    from schedulers.tune.schedulers import FIFO as FIFO
    from schedulers.tune.schedulers import PBT as PBT
    from schedulers.tune.schedulers import PFL as PFL
    from schedulers.tune.schedulers import ClassicPFL as ClassicPFL
    from schedulers.tune.schedulers import Hyperband as Hyperband
    from schedulers.tune.schedulers import Margin as Margin
    from schedulers.tune.schedulers import MedianStopping as MedianStopping
    from schedulers.tune.schedulers import Patience as Patience
    from schedulers.tune.schedulers import Racing as Racing
    from schedulers.tune.schedulers import SuccessiveHalving as SuccessiveHalving

# Name of a scheduler class -> path of its rule.
RULES = {
    "ASHA": "schedulers.asha.ASHARule",
    "Hyperband": "schedulers.hyperband.HyperbandRule",
    "SuccessiveHalving": "schedulers.hyperband.SuccessiveHalvingRule",
    "MedianStopping": "schedulers.median.MedianStoppingRule",
    "Margin": "schedulers.margin.MarginRule",
    "Patience": "schedulers.patience.PatienceRule",
    "PBT": "schedulers.pbt.PBTRule",
    "PFL": "schedulers.pfl.PFLRule",
    "ClassicPFL": "schedulers.classic_pfl.ClassicPFLRule",
    "Racing": "schedulers.racing.RacingRule",
    "FIFO": "schedulers.fifo.FIFORule",
}

__all__ = [
    "RULES",
    "ASHARule",
    "Categorical",
    "ClassicPFLRule",
    "Continue",
    "Decision",
    "Domain",
    "Exploit",
    "FIFORule",
    "Float",
    "HyperbandRule",
    "Int",
    "Listener",
    "MarginRule",
    "MedianStoppingRule",
    "PBTRule",
    "PFLRule",
    "PatienceRule",
    "Pause",
    "RacingRule",
    "Report",
    "Resume",
    "Rule",
    "Stop",
    "SuccessiveHalvingRule",
]


if not TYPE_CHECKING:  # with `__getattr__` a type checker would accept any name

    def __getattr__(name: str) -> Any:
        """The scheduler classes and the adapter, imported on first use because they bring Ray with them."""
        if name in RULES or name == "RuleScheduler":
            return getattr(importlib.import_module("schedulers.tune.schedulers"), name)
        raise AttributeError(f"module 'schedulers' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Include what `__getattr__` imports, so that completion offers it."""
    return sorted({*globals(), *RULES, "RuleScheduler"})
