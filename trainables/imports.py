"""Anything importable by its dotted path: the only registry there is."""

from __future__ import annotations

import gc
import importlib
import inspect
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


@contextmanager
def unwatched() -> Iterator[None]:
    """Import in here what is large: nothing of it is garbage, now or later.

    Python would look through all of torch for garbage several times while importing it (a quarter of
    the time that takes), and again at each full collection while a trial trains.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


OPTIONAL_MODULES = {"pytorch_optimizer": ("torch.distributed.tensor", "torch.distributed._tensor")}
"""What a package tries to import and does without: here tensors spread over devices, 0.8 s of CPU."""


@contextmanager
def without_optional(name: str) -> Iterator[None]:
    """Import a module in here without what its package only needs where it has been imported already."""
    package = name.partition(".")[0]
    absent = [each for each in OPTIONAL_MODULES.get(package, ()) if not {package, each} & sys.modules.keys()]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(absent))  # None: an ImportError for whoever tries
    try:
        yield
    finally:
        for each in absent:
            modules.pop(each, None)


def add_paths(folders: Iterable[str | Path]) -> None:
    """Put folders of the user's at the end of `sys.path`, in their order; those there already stay put.

    What is installed comes first: a user's `types.py` or `optuna.py` must not hide the module that
    everything else needs. A folder that is a snapshot of modules (`trainables.module_snapshot`) goes before
    all.
    """
    for folder in folders:
        if not install(Path(folder)) and str(folder) not in sys.path:
            sys.path.append(str(folder))


def resolve(dotted: str) -> Any:
    """The object a dotted path names, imported.

    Raises:
        RunError: if no such module can be found or it has no such name. What goes wrong *inside* a
            module while it is imported passes unchanged: it is the module author's error.

    >>> resolve("math.tau")
    6.283185307179586
    """
    names = dotted.split(".")
    for cut in range(len(names), 0, -1):
        module = _module(".".join(names[:cut]))
        if module is None:
            continue
        found: Any = module
        for name in names[cut:]:
            if not hasattr(found, name):
                raise RunError(f"{dotted}: {found.__name__} has no {name!r}; is it spelt so there?")
            found = getattr(found, name)
        return found
    raise RunError(
        f"{dotted}: no module {names[0]!r} beside the sweep file, in the working directory or installed"
    )


def call(dotted: str, *args: Any, given: Mapping[str, Any], offered: Mapping[str, Any] | None = None) -> Any:
    """Call what `dotted` names with `given` keywords, and those `offered` that it has a name for.

    What the user gave wins over what is offered.

    Raises:
        RunError: if the keywords do not fit its signature.
    """
    target = resolve(dotted)
    keywords = {name: value for name, value in (offered or {}).items() if takes(target, name)} | dict(given)
    signature = _signature(target)
    if signature is not None:
        try:
            signature.bind(*args, **keywords)
        except TypeError as error:
            raise RunError(f"{dotted}: {error}; see its signature") from None
    return target(*args, **keywords)


def parameters(target: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of something callable, in order; none for a builtin that does not tell.

    Raises:
        RunError: if it cannot be called at all.
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
    """Import a module, or None if there is none of this name (a missing import inside it raises)."""
    try:
        with importing(name), without_optional(name), nullcontext() if name in sys.modules else unwatched():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise
