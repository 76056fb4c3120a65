"""Flat keys in nested configurations: `optimizer_config.lr` is `config["optimizer_config"]["lr"]`.

A dotted key that a configuration itself holds comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def get_flat(config: Mapping[str, Any], key: str) -> list[Any]:
    """The value at a flat key, as `[value]`; `[]` if there is none (None is a value).

    >>> get_flat({"optimizer_config": {"lr": 0.1}}, "optimizer_config.lr")
    [0.1]
    """
    if key in config:
        return [config[key]]
    head, dot, rest = key.partition(".")
    return get_flat(config[head], rest) if dot and isinstance(config.get(head), Mapping) else []


def set_flat(config: Mapping[str, Any], flat: Mapping[str, Any], searched: Sequence[str]) -> dict[str, Any]:
    """A copy of a nested configuration with new flat values.

    A searched key without a new value is removed: it is conditional, and no longer active. Unchanged
    parts are shared with `config`, not copied.

    >>> set_flat({"net": {"width": 8, "norm": "batch"}}, {"net.width": 16}, ["net.width", "net.norm"])
    {'net': {'width': 16}}
    """
    new = dict(config)
    for key in dict.fromkeys([*flat, *searched]):
        section, rest = new, key
        while rest not in section and isinstance(section.get(rest.partition(".")[0]), Mapping):
            head, _, rest = rest.partition(".")
            section[head] = dict(section[head])
            section = section[head]
        if key in flat:
            section[rest] = flat[key]
        else:
            section.pop(rest, None)
    return new
