"""A component of a sweep: a dotted path and its keyword arguments, checked before anything starts.

Dotted paths are the registry: whatever can be imported can be named, ours or the user's. Checking
reads source (see `lookup`) and imports nothing; `resolve` imports, when a study really starts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from raysweep.config import signature as signatures
from raysweep.config.lookup import BrokenModule, MissingName, Modules, ResolvedName
from raysweep.config.problem import nearest, suggestion
from trainables import imports

OFFERED_HERE = {
    "model.MLP": "trainables.mlp.MLP",
    "util.load_data": "trainables.data.load_synthetic",
}
"""The template's own modules: who copied only its YAML files has no `model.py` beside them."""


class Component(BaseModel):
    """Something importable, and the keyword arguments it is called with.

    Attributes:
        name: dotted path.
        kwargs: what the sweep file gives; the service fills in more (seed, space, …) where asked for.

    >>> Component.model_validate("optuna.samplers.RandomSampler").kwargs
    {}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        paths: folders that go to the front of `sys.path` and stay there, for what is found may
            import its neighbours later.

    Raises:
        RunError: if there is no such module or no such name in it.
    """
    imports.add_paths(paths)
    return imports.resolve(path)


def signature(path: str, modules: Modules) -> signatures.Signature | None:
    """Read what a dotted path takes, without importing it; None where the source does not tell.

    Raises:
        BrokenModule: if a module on the way is not sound Python.
    """
    found = modules.lookup(path)
    return signatures.signature(found, modules) if isinstance(found, ResolvedName) else None


def is_function_loop(path: str, modules: Modules) -> bool:
    """Whether a user's own training loop is a function of its `config` alone, as far as one can read."""
    try:
        read = signature(path, modules)
    except BrokenModule:
        return False  # checking its call says so
    return read is not None and "config" in read.names()


@dataclass(frozen=True, slots=True)
class SignatureError:
    """Something about a component that does not fit.

    Attributes:
        kwarg: the keyword argument; None if it is the component itself.
        what: what is wrong.
        fix: how to fix it.
        certain: False for what may yet be meant (a warning).
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
    """Say what is wrong with calling `path(…, **kwargs)`.

    Args:
        path: dotted path, as in the sweep file.
        kwargs: names of the keyword arguments.
        modules: where modules are looked for.
        given: names that whoever calls it fills in, where it has such a parameter.
        more: names that it takes besides those of its signature.
        first: how many of its first positional arguments whoever calls it fills in.
        home: the module where somebody who writes a bare name most likely thinks it is.
    """
    ill_formed = _ill_formed(path, modules, home)
    if ill_formed is not None:
        yield ill_formed
        return
    try:
        found = modules.lookup(path)
        read = signatures.signature(found, modules) if isinstance(found, ResolvedName) else None
    except BrokenModule as error:
        yield SignatureError(None, f"'{path}' cannot be imported: {error}", "fix that file")
        return
    if isinstance(found, MissingName):
        what, fix = _missing(path, found)
        if hidden := modules.hidden_file(path.partition(".")[0]):
            fix = f"an installed module comes before {hidden}: give that file another name"
        yield SignatureError(None, what, fix)
    elif read is not None:
        # Named as the user does: the rule was found, and a scheduler class is what the path names.
        own = read.without_first(first)
        besides = tuple(signatures.SignatureParameter(name, required=False) for name in more)
        read = replace(own, parameters=(*own.parameters, *besides), what=path.rpartition(".")[2])
        yield from _unbound(read, kwargs, given)


def _ill_formed(path: str, modules: Modules, home: str) -> SignatureError | None:
    """Say so of what is no dotted path; of a bare or short name (`tpe`, `adamw`), what is likely meant."""
    parts = path.split(".")
    if len(parts) > 1 and all(part.isidentifier() for part in parts):
        return None
    module = modules.module(home)
    known = sorted(modules.names_of(module), key=len) if module else []
    if home == "schedulers":
        known = [name for name in known if not name.endswith("Rule")]  # the classes that Ray takes
    begins = [name for name in known if path and name[0].isupper() and name.lower().startswith(path.lower())]
    near = begins[0] if begins else nearest(path, known)
    fix = (
        f"did you mean '{home}.{near}'?"
        if near
        else f"write module.Name, as in {home}.{(known or ['Name'])[0]}"
    )
    return SignatureError(None, f"'{path}' is no dotted path", fix)


def _missing(path: str, found: MissingName) -> tuple[str, str]:
    """What is missing, and how to fix it."""
    if found.module:
        what = f"{found.what} beside the sweep file, in the working directory or installed"
        if path in OFFERED_HERE:
            return what, f"{OFFERED_HERE[path]} offers the same here"
        return what, suggestion(found.name, found.known, "put its file beside the sweep file, or install it")
    if not found.name:
        return found.what, suggestion("", found.known, "name a class or function in it")
    near = nearest(found.name, found.known)
    if near is None:
        return found.what, "check how it is spelt there"
    before, _, after = path.rpartition(found.name)
    return found.what, f"did you mean '{before}{near}{after}'?"


def _unbound(
    read: signatures.Signature, kwargs: Collection[str], given: Collection[str]
) -> Iterator[SignatureError]:
    """Compare keyword arguments with a signature."""
    names = read.names()
    offered = [name for name in names if name not in given] or names
    free = [name for name in names if name not in kwargs]
    meant = set()
    for name in kwargs:
        if name in names:
            continue
        near = nearest(name, free)
        if near is not None:
            meant.add(near)
        if read.open:
            if near is not None:
                fix = f"it takes any keyword, so this one is passed on; did you mean '{near}'?"
                yield SignatureError(name, f"{read.what} has no parameter of this name", fix, certain=False)
            continue
        fix = suggestion(name, offered, "" if offered else "it takes none: drop it")
        yield SignatureError(name, f"unknown to {read.what}", fix)
    missing = [
        parameter.name
        for parameter in read.parameters
        if parameter.required and parameter.keyword and parameter.name not in {*kwargs, *given, *meant}
    ]
    if missing:
        listed = " and ".join(f"'{name}'" for name in missing)
        yield SignatureError(None, f"{read.what} needs {listed}", "")
