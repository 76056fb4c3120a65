"""Resolves and calls objects by dotted path."""

from __future__ import annotations

import gc
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from trainables.module_snapshot import install
from trainables.process_state import importing
from trainables.run_config import RunError

CLONE = Path(__file__).resolve().parent.parent
_DOTTED_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Exclude from garbage collection what is imported within the block.

    Python would scan all of torch for garbage several times while importing it (a quarter of the time
    that takes), and again at each full collection while a trial trains.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


OPTIONAL_MODULES = {
    "pytorch_optimizer": ("torch.distributed.tensor", "torch.distributed._tensor", "transformers"),
}
"""Package -> modules that it imports if they exist, but does not need for a net in one process: distributed
tensors, 0.8 s of CPU, and Hugging Face's DeepSpeed, as much again where it is installed."""


@contextmanager
def without_optional(name: str) -> Iterator[None]:
    """Keep a package from importing optional modules within the block, unless they are imported already."""
    package = name.partition(".")[0]
    absent = [each for each in OPTIONAL_MODULES.get(package, ()) if not {package, each} & sys.modules.keys()]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(absent))  # None: importing it raises an ImportError
    try:
        yield
    finally:
        for each in absent:
            modules.pop(each, None)


def add_paths(folders: Iterable[str | Path]) -> None:
    """Append the user's folders to `sys.path`, in their order, unless they are there already.

    Installed modules come first: a user's `types.py` or `optuna.py` must not hide the module that
    everything else needs. A snapshot of modules (`trainables.module_snapshot`) comes before all.
    """
    for folder in folders:
        if not install(Path(folder)) and str(folder) not in sys.path:
            sys.path.append(str(folder))


def dotted_paths(value: Any) -> Iterator[str]:
    """Every text in nested settings that may be a dotted path.

    >>> list(dotted_paths({"net": "mine.Net", "layers": [{"norm": "batch"}]}))
    ['mine.Net']
    """
    if isinstance(value, str):
        if _DOTTED_PATH.fullmatch(value):
            yield value
    elif isinstance(value, Iterable):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from dotted_paths(inner)


def resolve(dotted: str) -> Any:
    """Import the object of a dotted path.

    Raises:
        RunError: if there is no such module or it has no such name. An error *inside* a module while it is
            imported is raised unchanged.

    >>> resolve("math.tau")
    6.283185307179586
    """
    names = dotted.split(".")
    for cut in range(len(names), 0, -1):
        module = _module(".".join(names[:cut]))
        if module is None:
            continue
        value: Any = module
        for name in names[cut:]:
            if not hasattr(value, name):
                raise RunError(f"{dotted}: {value.__name__} has no {name!r}; is it spelt so there?")
            value = getattr(value, name)
        return value
    raise RunError(
        f"{dotted}: no module {names[0]!r} beside the sweep file, in the working directory or installed"
    )


def call(dotted: str, *args: Any, given: Mapping[str, Any], offered: Mapping[str, Any] | None = None) -> Any:
    """Call the object of a dotted path with the user's keyword arguments, and those of ours that it takes.

    Args:
        dotted: dotted path.
        args: positional arguments.
        given: the user's keyword arguments, which have precedence.
        offered: keyword arguments that are passed if there are such parameters.

    Raises:
        RunError: if the arguments do not fit its signature.
    """
    target = resolve(dotted)
    kwargs = {name: value for name, value in (offered or {}).items() if takes(target, name)} | dict(given)
    signature = _signature(target)
    if signature is not None:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise RunError(f"{dotted}: {error}; see its signature") from None
    return target(*args, **kwargs)


def parameters(target: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of a callable, in order; empty for a builtin without a signature.

    Raises:
        RunError: if it cannot be called.
    """
    signature = _signature(target)
    return {} if signature is None else signature.parameters


def takes(target: Any, name: str) -> bool:
    """Whether `target` has a parameter of this name (`**kwargs` does not count)."""
    return name in parameters(target)


def _signature(target: Any) -> inspect.Signature | None:
    if not callable(target):
        raise RunError(f"{target!r} is neither a class nor a function")
    try:
        return inspect.signature(target)
    except ValueError:  # some builtins have none
        return None


def _module(name: str) -> ModuleType | None:
    """Import a module; None if there is none of this name (a missing import inside it raises)."""
    try:
        with (
            importing(name),
            without_optional(name),
            nullcontext() if name in sys.modules else without_garbage_collection(),
        ):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise
