"""Flat keys in nested configurations: `optimizer_config.lr` is `config["optimizer_config"]["lr"]`.

A configuration may as well hold a dotted key as it is; then that one is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def get_flat(config: Mapping[str, Any], key: str) -> list[Any]:
    """The value at a flat key, as `[value]`; `[]` where there is none (None is a value).

    >>> get_flat({"optimizer_config": {"lr": 0.1}}, "optimizer_config.lr")
    [0.1]
    """
    if key in config:
        return [config[key]]
    head, dot, rest = key.partition(".")
    return get_flat(config[head], rest) if dot and isinstance(config.get(head), Mapping) else []


def set_flat(config: Mapping[str, Any], flat: Mapping[str, Any], searched: Sequence[str]) -> dict[str, Any]:
    """A copy of a nested configuration under new flat values.

    A searched key that has no new value is removed: it was conditional, and is active no more. What
    is not changed is shared with `config`, not copied.

    >>> set_flat({"net": {"width": 8, "norm": "batch"}}, {"net.width": 16}, ["net.width", "net.norm"])
    {'net': {'width': 16}}
    """
    new = dict(config)
    for key in dict.fromkeys([*flat, *searched]):
        place, rest = new, key
        while rest not in place and isinstance(place.get(rest.partition(".")[0]), Mapping):
            head, _, rest = rest.partition(".")
            place[head] = dict(place[head])
            place = place[head]
        if key in flat:
            place[rest] = flat[key]
        else:
            place.pop(rest, None)
    return new
