"""The configurations that preflight tries: a few at random, and those most likely to fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from raysweep.advice.relations import DEPTHS
from raysweep.config import Sweep
from raysweep.config.baseline import baseline_of
from raysweep.config.parameter import is_number
from raysweep.config.stage import LR
from raysweep.search.optuna_space import OptunaSpace
from schedulers.space import Categorical, Domain, Int
from trainables.run_config import CONFIGS

RANDOM = 5
BATCH_SIZE = "batch_size"
NET = "net_config."

Flat = dict[str, Any]
Pick = Callable[[Domain], Any]


def probe_configs(sweep: Sweep) -> dict[str, Flat]:
    """Name -> flat configuration: the default, the corners and five at random, without duplicates.

    The default is the run as the file gives it, with its constructors' defaults; what those leave open is
    taken from the middle of its range. A corner is the default with some parameters at an end of their range.
    The random ones are drawn with the sweep's seed.
    """
    space = OptunaSpace.of(sweep.search_space)
    base = baseline_of(sweep)
    named = {"default": _completed(space, base, {})}
    for name, ends in _corners(space).items():
        named[name] = _completed(space, base, ends)
    for name, key, choice in _components(space, base):
        named[name] = _completed(space, {**base, key: choice}, {})
    rng = np.random.default_rng(sweep.seed)
    for number in range(RANDOM if sweep.search_space else 0):
        named[f"random {number + 1}"] = _drawn(space, lambda key, domain: domain.sample(rng))
    distinct: dict[str, Flat] = {}
    for name, config in named.items():
        if config not in distinct.values():
            distinct[name] = config
    return distinct


def size(value: Any) -> float:
    """How large a choice makes a net: its number, or the sum of a list of widths; 0 for anything else.

    >>> size(3), size([64, 32]), size("relu"), size(True)
    (3.0, 96.0, 0.0, 0.0)
    """
    if isinstance(value, (list, tuple)):
        return sum(map(size, value))
    return float(value) if is_number(value) else 0.0


def _corners(space: OptunaSpace) -> dict[str, dict[str, Pick]]:
    """Corner -> how the value of each of its keys is picked; corners without searched keys are left out."""
    keys = {space.key(name) for name in space.domains}
    shape = [key for key in keys if key.startswith(NET) and _grows(space, key)]
    deep = [key for key in shape if key.rpartition(".")[2] in DEPTHS]
    corners: dict[str, dict[str, Pick]] = {
        "largest": dict.fromkeys([*shape, *keys & {BATCH_SIZE}], _largest),
        "deepest": dict.fromkeys(deep, _largest),
        "highest lr": dict.fromkeys(keys & {LR}, _largest),
        "smallest batch": dict.fromkeys(keys & {BATCH_SIZE}, _smallest),
    }
    return {name: ends for name, ends in corners.items() if ends}


def _components(space: OptunaSpace, base: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """Every searched net, optimizer, ... other than the default: (name, key, choice)."""
    components = []
    for key in CONFIGS:
        for name in space.names_of(key):
            domain = space.domains[name]
            choices = domain.choices if isinstance(domain, Categorical) else ()
            for choice in choices:
                if choice != base.get(key):
                    last_part = str(choice).rpartition(".")[2]
                    components.append((f"{key} {last_part}", key, choice))
    return components


def _completed(space: OptunaSpace, base: Mapping[str, Any], ends: Mapping[str, Pick]) -> Flat:
    """The default with some keys at their ends."""

    def pick(key: str, domain: Domain) -> Any:
        if key in ends:
            return ends[key](domain)
        return base[key] if key in base and domain.contains(base[key]) else domain.from_unit(0.5)

    return _drawn(space, pick)


def _drawn(space: OptunaSpace, pick: Callable[[str, Domain], Any]) -> Flat:
    config: Flat = {}
    for name in space.order:
        if space.is_active(name, config):
            config[space.key(name)] = pick(space.key(name), space.domains[name])
    return config


def _grows(space: OptunaSpace, key: str) -> bool:
    """Whether a larger value may make a larger net: true of whole numbers and choices of sizes."""
    return any(
        isinstance(domain, Int)
        or (isinstance(domain, Categorical) and all(size(choice) > 0 for choice in domain.choices))
        for domain in (space.domains[name] for name in space.names_of(key))
    )


def _largest(domain: Domain) -> Any:
    return max(domain.choices, key=size) if isinstance(domain, Categorical) else domain.from_unit(1.0)


def _smallest(domain: Domain) -> Any:
    return min(domain.choices, key=size) if isinstance(domain, Categorical) else domain.from_unit(0.0)
