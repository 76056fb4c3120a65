"""What arguments a class or function takes, read from its source.

A constructor is looked for along the base classes; dataclasses, NamedTuples and plain pydantic models
have theirs made from their fields. `**kwargs` that are handed on to the base class's constructor take
what that takes; `**kwargs` that the body never touches take nothing, for whatever goes there is
dropped in silence (torch-style optimizers are full of them).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from raysweep.config.lookup import Definition, Modules, ResolvedName

# Decorators after which a function still takes what its `def` says. Others may not, so they are not judged.
_HARMLESS = {
    *("staticmethod", "classmethod", "abstractmethod", "final", "override", "deprecated", "wraps"),
    *("lru_cache", "cache", "contextmanager", "no_grad", "inference_mode", "enable_grad", "property"),
    *("convert_positional_args", "experimental_func", "deprecated_func", "validate_params"),
}
_DEPTH = 12  # base classes deeper than this are a circle


NO_DEFAULT = object()
"""A parameter has none, or none that the source tells."""


@dataclass(frozen=True, slots=True)
class SignatureParameter:
    """One parameter of a signature."""

    name: str
    required: bool
    keyword: bool = True
    """Whether it can be given by name."""
    positional: bool = True
    default: Any = NO_DEFAULT
    """Where it is a plain value in the source."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What can be given to a callable.

    Attributes:
        parameters: without `self`, in order.
        open: it also takes keywords that are not named here.
        what: how to call it in a message, e.g. ``SPlus``.
    """

    parameters: tuple[SignatureParameter, ...]
    open: bool = False
    what: str = ""

    def names(self) -> list[str]:
        """List what can be given by name."""
        return [parameter.name for parameter in self.parameters if parameter.keyword]

    def without_first(self, count: int) -> Signature:
        """Leave out the first positional parameters, which the caller fills in."""
        positional = [parameter.name for parameter in self.parameters if parameter.positional][:count]
        rest = tuple(parameter for parameter in self.parameters if parameter.name not in positional)
        return replace(self, parameters=rest)


def signature(found: ResolvedName, modules: Modules) -> Signature | None:
    """Read the signature of what was found; None where the source does not tell."""
    name = found.node.name
    if isinstance(found.node, ast.ClassDef):
        read = _of_class(found, modules, _DEPTH)
    else:
        method = _decorators(found.node) & {"classmethod"}
        read = _of_function(found.node, skip=1 if method else 0)
        if read is not None and _keywords_unused(found.node):
            read = replace(read, open=False)
    return replace(read, what=name) if read else None


def _decorators(node: Definition) -> set[str]:
    names = set()
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        names.add(target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "?"))
    return names


def _of_function(node: ast.FunctionDef | ast.AsyncFunctionDef, skip: int) -> Signature | None:
    if _decorators(node) - _HARMLESS:
        return None
    args = node.args
    positional = [*args.posonlyargs, *args.args]
    first_default = len(positional) - len(args.defaults)
    defaults = [None] * first_default + args.defaults
    parameters = [
        SignatureParameter(
            arg.arg,
            required=default is None,
            keyword=place >= len(args.posonlyargs),
            default=_plain_value(default),
        )
        for place, (arg, default) in enumerate(zip(positional, defaults, strict=True))
    ][skip:]
    parameters += [
        SignatureParameter(arg.arg, required=default is None, positional=False, default=_plain_value(default))
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
    return Signature(tuple(parameters), open=args.kwarg is not None)


def _plain_value(node: ast.expr | None) -> Any:
    try:
        return NO_DEFAULT if node is None else ast.literal_eval(node)
    except (ValueError, TypeError):
        return NO_DEFAULT


def _keywords_unused(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether `**kwargs` are taken and never looked at (a body of nothing but `...` is a declaration)."""
    if node.args.kwarg is None:
        return False
    body = [
        inner
        for inner in node.body
        if not (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))
    ]
    name = node.args.kwarg.arg
    used = any(
        isinstance(inner, ast.Name) and inner.id in (name, "locals")
        for part in body
        for inner in ast.walk(part)
    )
    return bool(body) and not used


def _of_class(found: ResolvedName, modules: Modules, depth: int) -> Signature | None:
    node = found.node
    assert isinstance(node, ast.ClassDef)
    if depth == 0 or any(
        keyword.arg == "metaclass" and _name(keyword.value) != "ABCMeta" for keyword in node.keywords
    ):
        return None
    methods = {inner.name: inner for inner in node.body if isinstance(inner, ast.FunctionDef)}
    constructor = methods.get("__init__") or methods.get("__new__")
    if constructor is not None:
        return _of_constructor(constructor, found, modules, depth)
    made = _from_fields(found, modules, depth)
    if made is not None:
        return made
    return _of_bases(found, modules, depth)


def _of_constructor(
    node: ast.FunctionDef, found: ResolvedName, modules: Modules, depth: int
) -> Signature | None:
    read = _of_function(node, skip=1)
    if read is None or not read.open:
        return read
    if _keywords_unused(node):
        return replace(read, open=False)
    if not _hands_on_all(node):
        return read
    above = _of_bases(found, modules, depth)
    if above is None:
        return read
    mine = {parameter.name for parameter in read.parameters}
    given = _given_above(node)
    more = [
        # What the subclass itself gives to its base is settled: it is no longer the user's to give.
        replace(parameter, required=False, positional=False)
        for parameter in above.parameters
        if parameter.name not in mine | given
    ]
    return Signature((*read.parameters, *more), open=above.open)


def _super_call(node: ast.FunctionDef) -> ast.Call | None:
    """The one call ``super().__init__(..., **kwargs)`` of a constructor."""
    for call in (inner for inner in ast.walk(node) if isinstance(inner, ast.Call)):
        target = call.func
        if (
            isinstance(target, ast.Attribute)
            and target.attr == "__init__"
            and isinstance(target.value, ast.Call)
        ):
            return call if _name(target.value.func) == "super" else None
    return None


def _hands_on_all(node: ast.FunctionDef) -> bool:
    """Whether `**kwargs` go to the base class's constructor and nowhere else."""
    assert node.args.kwarg is not None
    name = node.args.kwarg.arg
    uses = [inner for inner in ast.walk(node) if isinstance(inner, ast.Name) and inner.id == name]
    call = _super_call(node)
    handed = [kw for kw in (call.keywords if call else ()) if kw.arg is None and _name(kw.value) == name]
    return len(uses) == 1 and len(handed) == 1


def _given_above(node: ast.FunctionDef) -> set[str]:
    call = _super_call(node)
    return {keyword.arg for keyword in (call.keywords if call else ()) if keyword.arg}


def _of_bases(found: ResolvedName, modules: Modules, depth: int) -> Signature | None:
    """The constructor inherited, by the first base that has one; of plain `object`, no parameters."""
    node = found.node
    assert isinstance(node, ast.ClassDef)
    for base in node.bases:
        if _name(base) in ("object", "ABC", "Protocol", "Generic"):
            continue
        above = modules.expression(found.module, base)
        if not isinstance(above, ResolvedName) or not isinstance(above.node, ast.ClassDef):
            return None
        read = _of_class(above, modules, depth - 1)
        if read is None or read.parameters or read.open:
            return read
    return Signature(())


def _from_fields(found: ResolvedName, modules: Modules, depth: int) -> Signature | None:
    """The constructor that a dataclass, NamedTuple or pydantic model has made from its fields."""
    node = found.node
    assert isinstance(node, ast.ClassDef)
    is_dataclass = "dataclass" in _decorators(node)
    if not is_dataclass and not {_name(base) for base in node.bases} & {"NamedTuple", "BaseModel"}:
        return None
    parameters: dict[str, SignatureParameter] = {}
    for base in node.bases if is_dataclass else ():
        above = modules.expression(found.module, base)
        if isinstance(above, ResolvedName) and isinstance(above.node, ast.ClassDef):
            inherited = _of_class(above, modules, depth - 1)
            parameters |= (
                {parameter.name: parameter for parameter in inherited.parameters} if inherited else {}
            )
    for field in _fields(node.body):
        parameters[field.name] = field
    return Signature(tuple(parameters.values()))


def _fields(body: Iterable[ast.stmt]) -> Iterator[SignatureParameter]:
    for node in body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if "ClassVar" in ast.dump(node.annotation) or node.target.id.startswith("_"):
            continue
        options = (
            {keyword.arg: keyword.value for keyword in node.value.keywords}
            if isinstance(node.value, ast.Call)
            else {}
        )
        initial = options.get("init")
        if isinstance(initial, ast.Constant) and initial.value is False:
            continue
        is_field = isinstance(node.value, ast.Call) and _name(node.value.func) in ("field", "Field")
        defaulted = node.value is not None and (
            not is_field
            or bool(options.keys() & {"default", "default_factory"})
            or _has_positional(node.value)
        )
        yield SignatureParameter(node.target.id, required=not defaulted)


def _has_positional(node: ast.expr) -> bool:
    """Whether pydantic's ``Field(0.1, ge=0)`` gives a default (``Field(...)`` gives none)."""
    if not isinstance(node, ast.Call) or not node.args:
        return False
    first = node.args[0]
    return not (isinstance(first, ast.Constant) and first.value is ...)


def _name(node: ast.expr) -> str:
    """The last name of ``Name``, ``a.Name`` or ``Name[T]``; empty for another expression."""
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
