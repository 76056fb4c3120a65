"""The trial scheduler of a sweep, as Ray Tune takes it."""

from __future__ import annotations

from typing import Any

from raysweep.config import Sweep
from raysweep.config.rule_context import rule_context
from schedulers.rule import Rule
from schedulers.stop_audit import AUDIT_SETTINGS
from schedulers.tune.adapter import RuleScheduler
from trainables.run_config import RunError


def make_scheduler(sweep: Sweep) -> RuleScheduler:
    """The sweep's trial scheduler, with its own arguments and those filled in from the sweep.

    Raises:
        RunError: if the file names neither a rule nor a scheduler class with one, or a rule of the
            user's own rejects its settings.
    """
    name, kwargs = sweep.trial_scheduler.name, sweep.trial_scheduler.kwargs
    loaded = sweep.trial_scheduler.load(sweep.import_paths)
    is_rule = isinstance(loaded, type) and issubclass(loaded, Rule)
    rule_class = loaded if is_rule else getattr(loaded, "rule_class", None)
    if rule_class is None:
        raise RunError(
            f"trial_scheduler: '{name}' is neither a schedulers.Rule nor one of this project's schedulers, "
            "so a study could not replay it from its journal; use schedulers.ASHA, or write a Rule"
        )
    settings = rule_context(rule_class, sweep) | kwargs
    adapter: dict[str, Any] = {
        "metric": sweep.metric,
        "mode": sweep.mode,
        "time_attr": "epoch",
    }
    if "audit_fraction" in kwargs:
        settings.setdefault("audit_seed", sweep.seed)
    try:
        if not is_rule:
            scheduler: RuleScheduler = loaded(**settings, **adapter)
            return scheduler
        adapter |= {key: settings.pop(key) for key in AUDIT_SETTINGS if key in settings}
        return RuleScheduler(loaded(**settings), **adapter)
    except (TypeError, ValueError) as error:
        raise RunError(f"trial_scheduler: {name}: {error}") from error
