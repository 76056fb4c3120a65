"""Converts state to plain values, which `torch.load(weights_only=True)` reads without running code.

Optimizers have deques, enums and objects in their state, nets whatever `get_extra_state` returns. These are
written by their contents and rebuilt when they are read: an object only if its class is of the package of
the optimizer or net, and without calling the class.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import numpy as np
import torch

from trainables.checkpoint_integrity import CheckpointError

KIND = "__kind__"
DEPTH = 40  # deeper than any state, unless it contains itself
UNCHANGED = (
    *(type(None), bool, int, float, complex, str, bytes),
    *(torch.Tensor, torch.dtype, torch.device, torch.Size, np.ndarray, np.generic),
)
COLLECTIONS: dict[str, Callable[[list[Any]], Any]] = {"set": set, "frozenset": frozenset}


def package_of(value: Any) -> str:
    """The package in which the class of a value is defined.

    >>> package_of(torch.nn.Linear(1, 1))
    'torch'
    """
    return type(value).__module__.partition(".")[0]


def to_plain(state: Any, packages: frozenset[str], what: str) -> Any:
    """The same state in plain values.

    Args:
        state: nested mappings and lists of tensors, numbers, text, deques, sets, enums, and objects of
            `packages` that hold such values.
        packages: packages whose classes may be in it.
        what: owner of the state, for errors.

    Raises:
        CheckpointError: if a value in it cannot be written; names its type and its key.

    >>> from_plain(to_plain({"last": deque([1, 2], 5)}, frozenset(), "mine"), frozenset())
    {'last': deque([1, 2], maxlen=5)}
    """

    def plain(value: Any, where: str, depth: int) -> Any:
        def inner(each: Any, name: object) -> Any:
            return plain(each, f"{where}[{name!r}]", depth + 1)

        if depth > DEPTH:
            raise CheckpointError(
                f"{what} cannot be written to a checkpoint: state{where[:60]}... holds itself"
            )
        if isinstance(value, Enum) and package_of(value) in packages:
            return {KIND: "enum", "class": _name(type(value)), "value": inner(value.value, "value")}
        if isinstance(value, UNCHANGED):
            return value
        if isinstance(value, Mapping):
            return {key: inner(each, key) for key, each in value.items()}
        if type(value) in (list, tuple):
            return type(value)(inner(each, n) for n, each in enumerate(value))
        if isinstance(value, deque):
            return {
                KIND: "deque",
                "items": [inner(each, n) for n, each in enumerate(value)],
                "maxlen": value.maxlen,
            }
        if isinstance(value, set | frozenset):
            kind = "set" if isinstance(value, set) else "frozenset"
            return {KIND: kind, "items": [inner(each, n) for n, each in enumerate(value)]}
        if isinstance(value, tuple | list):  # a named tuple and its like
            return [inner(each, n) for n, each in enumerate(value)]
        if package_of(value) in packages and hasattr(value, "__dict__") and not callable(value):
            return {KIND: "object", "class": _name(type(value)), "holds": inner(vars(value), "holds")}
        raise CheckpointError(
            f"{what} cannot be written to a checkpoint: state{where} is {_name(type(value))}; "
            "only numbers, text, tensors and collections of them can be"
        )

    return plain(state, "", 0)


def from_plain(state: Any, packages: frozenset[str]) -> Any:
    """The state from the plain values of `to_plain`.

    Raises:
        CheckpointError: if it names a class that is not of `packages`.
    """
    if isinstance(state, Mapping):
        kind = state.get(KIND)
        if kind == "deque":
            return deque((from_plain(each, packages) for each in state["items"]), state["maxlen"])
        if kind in COLLECTIONS:
            return COLLECTIONS[kind]([from_plain(each, packages) for each in state["items"]])
        if kind == "enum":
            return _class(state["class"], packages)(from_plain(state["value"], packages))
        if kind == "object":
            class_ = _class(state["class"], packages)
            rebuilt = class_.__new__(class_)
            vars(rebuilt).update(from_plain(state["holds"], packages))
            return rebuilt
        return {key: from_plain(each, packages) for key, each in state.items()}
    if type(state) in (list, tuple):
        return type(state)(from_plain(each, packages) for each in state)
    return state


def _name(class_: type) -> str:
    return f"{class_.__module__}:{class_.__qualname__}"


def _class(name: str, packages: frozenset[str]) -> Any:
    """The class of this name, if it is imported already: a checkpoint must not cause imports."""
    module, _, path = name.partition(":")
    value: Any = sys.modules.get(module) if module.partition(".")[0] in packages else None
    for part in path.split("."):
        value = getattr(value, part, None)
    if not isinstance(value, type) or _name(value) != name:
        raise CheckpointError(f"the checkpoint holds {name!r}, which is not of {', '.join(sorted(packages))}")
    return value
