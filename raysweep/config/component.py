"""Components of a sweep, each a dotted path with keyword arguments, and the check of their calls.

Anything that can be imported can be named, ours or the user's. Checking reads source (see `lookup`) and
imports nothing; `resolve` imports when a study starts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from raysweep.config import signature as signatures
from raysweep.config.lookup import BrokenModule, MissingName, Modules, ResolvedName
from raysweep.config.problem import nearest, suggestion
from trainables import imports
from trainables.run_config import Section

OFFERED_HERE = {
    "model.MLP": "trainables.mlp.MLP",
    "util.load_data": "trainables.data.load_synthetic",
}
"""The template's own modules, which are missing beside a copy of only its YAML files."""


class Component(Section):
    """Something importable, and the keyword arguments it is called with.

    Attributes:
        name: dotted path.
        kwargs: from the sweep file; the service fills in more (seed, space, …) that it has parameters for.

    >>> Component.model_validate("optuna.samplers.RandomSampler").kwargs
    {}
    """

    name: str
    kwargs: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_a_bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def load(self, paths: Sequence[str | Path] = ()) -> Any:
        """Import what `name` names; see `resolve`."""
        return resolve(self.name, paths)


def resolve(path: str, paths: Sequence[str | Path] = ()) -> Any:
    """Import what a dotted path names.

    Args:
        path: e.g. ``torch.optim.AdamW``.
        paths: folders to put at the front of `sys.path` for good, since the module may import its
            neighbours later.

    Raises:
        RunError: if there is no such module or no such name in it.
    """
    imports.add_paths(paths)
    return imports.resolve(path)


def signature(path: str, modules: Modules) -> signatures.Signature | None:
    """Read the signature of a dotted path without importing it; None if the source does not tell.

    Raises:
        BrokenModule: if a module on the way cannot be parsed.
    """
    target = modules.lookup(path)
    return signatures.signature(target, modules) if isinstance(target, ResolvedName) else None


def is_function_loop(path: str, modules: Modules) -> bool:
    """Whether a user's own training loop is a function of its `config`, by its source."""
    try:
        callee = signature(path, modules)
    except BrokenModule:
        return False  # reported with its call
    return callee is not None and "config" in callee.names()


@dataclass(frozen=True, slots=True)
class SignatureError:
    """A problem with the call of a component.

    Attributes:
        kwarg: the keyword argument; None if it is the component itself.
        what: the problem.
        fix: how to fix it.
        certain: False if it may be intended (a warning).
    """

    kwarg: str | None
    what: str
    fix: str
    certain: bool = True


def signature_errors(
    path: str,
    kwargs: Collection[str],
    modules: Modules,
    *,
    given: Collection[str] = (),
    more: Collection[str] = (),
    first: int = 0,
    home: str = "torch.nn",
) -> Iterator[SignatureError]:
    """Yield the problems of a call `path(…, **kwargs)`.

    Args:
        path: dotted path, as in the sweep file.
        kwargs: names of the keyword arguments.
        modules: finds modules.
        given: names that the caller fills in, if it has such a parameter.
        more: names that it accepts besides those of its signature.
        first: number of first positional arguments that the caller fills in.
        home: the module that a bare name most likely comes from.
    """
    ill_formed = _ill_formed(path, modules, home)
    if ill_formed is not None:
        yield ill_formed
        return
    try:
        target = modules.lookup(path)
        callee = signatures.signature(target, modules) if isinstance(target, ResolvedName) else None
    except BrokenModule as error:
        yield SignatureError(None, f"'{path}' cannot be imported: {error}", "fix that file")
        return
    if isinstance(target, MissingName):
        what, fix = _missing(path, target)
        if hidden := modules.hidden_file(path.partition(".")[0]):
            fix = f"an installed module comes before {hidden}: give that file another name"
        yield SignatureError(None, what, fix)
    elif callee is not None:
        # Named as in the path: the signature is a rule's, the path names its scheduler class.
        own = callee.without_first(first)
        besides = tuple(signatures.SignatureParameter(name, required=False) for name in more)
        callee = replace(own, parameters=(*own.parameters, *besides), what=path.rpartition(".")[2])
        yield from _kwarg_errors(callee, kwargs, given)


def _ill_formed(path: str, modules: Modules, home: str) -> SignatureError | None:
    """The error of a text that is no dotted path, with a suggestion for a short name (`tpe`, `adamw`)."""
    parts = path.split(".")
    if len(parts) > 1 and all(part.isidentifier() for part in parts):
        return None
    module = modules.module(home)
    known = sorted(modules.names_of(module), key=len) if module else []
    if home == "schedulers":
        # The scheduler classes, without their rules and modules.
        known = [name for name in known if name[0].isupper() and not name.endswith("Rule")]
    starts = [name for name in known if path and name[0].isupper() and name.lower().startswith(path.lower())]
    near = starts[0] if starts else nearest(path, known)
    fix = f"did you mean '{home}.{near}'?" if near else "write module.Name, as in torch.optim.AdamW"
    if path.lower() == "none":
        fix = "for none write null"
    return SignatureError(None, f"'{path}' is no dotted path", fix)


def _missing(path: str, missing: MissingName) -> tuple[str, str]:
    """Problem and fix of a missing name."""
    if missing.module:
        what = f"{missing.what} beside the sweep file, in the working directory or installed"
        if path in OFFERED_HERE:
            return what, f"{OFFERED_HERE[path]} offers the same here"
        fix = "put its file beside the sweep file, or install it"
        return what, suggestion(missing.name, missing.known, fix)
    if not missing.name:
        return missing.what, suggestion("", missing.known, "name a class or function in it")
    near = nearest(missing.name, missing.known)
    if near is None:
        return missing.what, "check how it is spelt there"
    before, _, after = path.rpartition(missing.name)
    return missing.what, f"did you mean '{before}{near}{after}'?"


def _kwarg_errors(
    callee: signatures.Signature, kwargs: Collection[str], given: Collection[str]
) -> Iterator[SignatureError]:
    """Yield the keyword arguments that a signature does not have, and those that it lacks."""
    names = callee.names()
    offered = [name for name in names if name not in given] or names
    free = [name for name in names if name not in kwargs]
    meant = set()
    for name in kwargs:
        if name in names:
            continue
        near = nearest(name, free)
        if near is not None:
            meant.add(near)
        if callee.open:
            if near is not None:
                fix = f"it accepts any keyword, so this one is passed on; did you mean '{near}'?"
                yield SignatureError(name, f"{callee.what} has no parameter of this name", fix, certain=False)
            continue
        fix = suggestion(name, offered, "" if offered else "it takes none: drop it")
        yield SignatureError(name, f"unknown to {callee.what}", fix)
    missing = [
        parameter.name
        for parameter in callee.parameters
        if parameter.required and parameter.keyword and parameter.name not in {*kwargs, *given, *meant}
    ]
    if missing:
        listed = " and ".join(f"'{name}'" for name in missing)
        yield SignatureError(None, f"{callee.what} needs {listed}", "")
