"""The baseline: the configuration that would run without a search, and that a search has to beat."""

from __future__ import annotations

from typing import Any

from raysweep.config.component import signature
from raysweep.config.lookup import BrokenModule, Modules
from raysweep.config.signature import NO_DEFAULT
from raysweep.config.sweep import Sweep
from trainables.run_config import CONFIGS, flatten


def baseline_of(sweep: Sweep) -> dict[str, Any]:
    """The run's own values, flat; for a searched keyword that the run leaves out, its default.

    The default is read from the source of the net, the optimizer, ..., if it is a literal there.
    """
    flat = flatten(sweep.run.model_dump(mode="json"))
    for component, config in CONFIGS.items():
        left_out = [key for key in sweep.space if key.startswith(f"{config}.") and key not in flat]
        path = flat.get(component)
        if left_out and isinstance(path, str):
            defaults = _defaults(path, Modules(sweep.import_paths))
            flat |= {key: defaults[name] for key in left_out if (name := key.partition(".")[2]) in defaults}
    return flat


def _defaults(path: str, modules: Modules) -> dict[str, Any]:
    try:
        callee = signature(path, modules)
    except BrokenModule:
        return {}  # reported with the component itself
    parameters = callee.parameters if callee is not None else ()
    return {each.name: each.default for each in parameters if each.default is not NO_DEFAULT}
