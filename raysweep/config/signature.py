"""Reads the signature of a class or function from its source.

A constructor is looked for along the base classes; that of dataclasses, NamedTuples and plain pydantic models
follows from their fields. `**kwargs` that are passed on to the base class's constructor accept what that
accepts; `**kwargs` that the body never uses accept nothing, since they would be dropped silently
(torch-style optimizers are full of them).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from raysweep.config.lookup import Definition, Modules, ResolvedName

# Decorators that keep a function's signature. With others the signature is unknown.
_HARMLESS = {
    *("staticmethod", "classmethod", "abstractmethod", "final", "override", "deprecated", "wraps"),
    *("lru_cache", "cache", "contextmanager", "no_grad", "inference_mode", "enable_grad", "property"),
    *("convert_positional_args", "experimental_func", "deprecated_func", "validate_params"),
}
_DEPTH = 12  # deeper base classes must be a cycle


NO_DEFAULT = object()
"""The parameter has no default, or none that is a literal."""


@dataclass(frozen=True, slots=True)
class SignatureParameter:
    """One parameter of a signature."""

    name: str
    required: bool
    keyword: bool = True
    """Whether it can be given by name."""
    positional: bool = True
    default: Any = NO_DEFAULT
    """If it is a literal in the source."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a callable.

    Attributes:
        parameters: without `self`, in order.
        open: whether it accepts other keywords, too.
        what: its name in messages, e.g. ``SPlus``.
    """

    parameters: tuple[SignatureParameter, ...]
    open: bool = False
    what: str = ""

    def names(self) -> list[str]:
        """The parameters that can be given by name."""
        return [parameter.name for parameter in self.parameters if parameter.keyword]

    def without_first(self, count: int) -> Signature:
        """The signature without the first positional parameters, which the caller fills in."""
        positional = [parameter.name for parameter in self.parameters if parameter.positional][:count]
        rest = tuple(parameter for parameter in self.parameters if parameter.name not in positional)
        return replace(self, parameters=rest)


def signature(target: ResolvedName, modules: Modules) -> Signature | None:
    """Read the signature of a class or function; None if the source does not tell."""
    name = target.node.name
    if isinstance(target.node, ast.ClassDef):
        result = _of_class(target, modules, _DEPTH)
    else:
        method = _decorators(target.node) & {"classmethod"}
        result = _of_function(target.node, skip=1 if method else 0)
        if result is not None and _keywords_unused(target.node):
            result = replace(result, open=False)
    return replace(result, what=name) if result else None


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
            keyword=index >= len(args.posonlyargs),
            default=_literal(default),
        )
        for index, (arg, default) in enumerate(zip(positional, defaults, strict=True))
    ][skip:]
    parameters += [
        SignatureParameter(arg.arg, required=default is None, positional=False, default=_literal(default))
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
    return Signature(tuple(parameters), open=args.kwarg is not None)


def _literal(node: ast.expr | None) -> Any:
    try:
        return NO_DEFAULT if node is None else ast.literal_eval(node)
    except (ValueError, TypeError):
        return NO_DEFAULT


def _keywords_unused(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether `**kwargs` are accepted and never used (a body of only `...` is a declaration)."""
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


def _of_class(target: ResolvedName, modules: Modules, depth: int) -> Signature | None:
    node = target.node
    assert isinstance(node, ast.ClassDef)
    if depth == 0 or any(
        keyword.arg == "metaclass" and _name(keyword.value) != "ABCMeta" for keyword in node.keywords
    ):
        return None
    methods = {inner.name: inner for inner in node.body if isinstance(inner, ast.FunctionDef)}
    constructor = methods.get("__init__") or methods.get("__new__")
    if constructor is not None:
        return _of_constructor(constructor, target, modules, depth)
    return _from_fields(target, modules, depth) or _of_bases(target, modules, depth)


def _of_constructor(
    node: ast.FunctionDef, target: ResolvedName, modules: Modules, depth: int
) -> Signature | None:
    own = _of_function(node, skip=1)
    if own is None or not own.open:
        return own
    if _keywords_unused(node):
        return replace(own, open=False)
    if not _passes_kwargs_on(node):
        return own
    base = _of_bases(target, modules, depth)
    if base is None:
        return own
    # Arguments that the subclass itself passes to its base cannot be given by the user.
    hidden = {parameter.name for parameter in own.parameters} | _passed_to_base(node)
    more = [
        replace(parameter, required=False, positional=False)
        for parameter in base.parameters
        if parameter.name not in hidden
    ]
    return Signature((*own.parameters, *more), open=base.open)


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


def _passes_kwargs_on(node: ast.FunctionDef) -> bool:
    """Whether `**kwargs` go to the base class's constructor and nowhere else."""
    assert node.args.kwarg is not None
    name = node.args.kwarg.arg
    uses = [inner for inner in ast.walk(node) if isinstance(inner, ast.Name) and inner.id == name]
    call = _super_call(node)
    passed = [kw for kw in (call.keywords if call else ()) if kw.arg is None and _name(kw.value) == name]
    return len(uses) == 1 and len(passed) == 1


def _passed_to_base(node: ast.FunctionDef) -> set[str]:
    call = _super_call(node)
    return {keyword.arg for keyword in (call.keywords if call else ()) if keyword.arg}


def _of_bases(target: ResolvedName, modules: Modules, depth: int) -> Signature | None:
    """The constructor of the first base class that has one; without parameters if none has."""
    node = target.node
    assert isinstance(node, ast.ClassDef)
    for base in node.bases:
        if _name(base) in ("object", "ABC", "Protocol", "Generic"):
            continue
        resolved = modules.expression(target.module, base)
        if not isinstance(resolved, ResolvedName) or not isinstance(resolved.node, ast.ClassDef):
            return None
        inherited = _of_class(resolved, modules, depth - 1)
        if inherited is None or inherited.parameters or inherited.open:
            return inherited
    return Signature(())


def _from_fields(target: ResolvedName, modules: Modules, depth: int) -> Signature | None:
    """The constructor that a dataclass, NamedTuple or pydantic model gets from its fields; else None."""
    node = target.node
    assert isinstance(node, ast.ClassDef)
    is_dataclass = "dataclass" in _decorators(node)
    if not is_dataclass and not {_name(base) for base in node.bases} & {"NamedTuple", "BaseModel"}:
        return None
    parameters: dict[str, SignatureParameter] = {}
    for base in node.bases if is_dataclass else ():
        resolved = modules.expression(target.module, base)
        if isinstance(resolved, ResolvedName) and isinstance(resolved.node, ast.ClassDef):
            inherited = _of_class(resolved, modules, depth - 1)
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
    """The last name of ``Name``, ``a.Name`` or ``Name[T]``; "" for other expressions."""
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
