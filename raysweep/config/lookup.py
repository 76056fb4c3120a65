"""Finds what a dotted path names by reading source, without importing it.

Importing torch, pytorch_optimizer, optuna and mlflow takes six seconds, and importing a user's file
runs it; a sweep file should be checked quickly and without side effects. So modules are found
as files and read as syntax trees: classes, functions, `from x import y as z`, star imports, aliases
and base classes are followed. A name that only running the code could find is an `UnknownName`, no error.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from pathlib import Path

from trainables.module_snapshot import Snapshot, read_manifest

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class ResolvedName:
    """A class or function, and the module that defines it."""

    node: Definition
    module: Module


@dataclass(frozen=True, slots=True)
class MissingName:
    """A name that does not exist.

    Attributes:
        what: the message for the user.
        name: the missing part of the path; "" if the path ends at a module.
        known: names that do exist there.
        module: whether the path's first name, a module, is missing.
    """

    what: str
    name: str
    known: tuple[str, ...] = ()
    module: bool = False


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A name that only running the code could find (compiled module, `__getattr__`, lambda)."""

    why: str


@dataclass(frozen=True, slots=True)
class ImportedName:
    """A name bound by an import: a module, or a name in it."""

    module: str
    name: str | None = None


Binding = Definition | ImportedName | ast.expr


@dataclass(frozen=True, eq=False, slots=True)
class Scope:
    """The names that a module binds at its top level.

    Attributes:
        names: binding by name.
        stars: modules that are star-imported.
        dynamic: running the module may bind further names.
        lazy: names that its `__getattr__` imports on first use, with their dotted paths.
    """

    names: dict[str, Binding] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    dynamic: bool = False
    lazy: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class Module:
    """A module found on disk.

    Attributes:
        name: its full dotted name.
        spec: its location.
        scope: its names; None if it is not Python source.
    """

    name: str
    spec: ModuleSpec
    scope: Scope | None


class BrokenModule(Exception):
    """A module that exists but cannot be parsed; the message says where."""


class Modules:
    """Finds modules as Python would, then in `paths`.

    Args:
        paths: folders searched after `sys.path`, as on a worker; but a study's copies of modules
            (`trainables.module_snapshot`) in them come first.
    """

    def __init__(self, paths: Sequence[str] = ()) -> None:
        importlib.invalidate_caches()  # to find files written a moment ago
        self.own = [path for path in paths if path not in sys.path]
        self.paths = [*sys.path, *self.own]
        self.copies = [copies for path in self.own if (copies := _copies(path)) is not None]
        self._modules: dict[str, Module | None] = {}

    def module(self, name: str) -> Module | None:
        """Find a module by its full name; None if there is none.

        Raises:
            BrokenModule: if its source does not parse.
        """
        if name not in self._modules:
            spec = self._spec(name)
            self._modules[name] = Module(name, spec, _scope(spec)) if spec else None
        return self._modules[name]

    def hidden(self) -> Iterator[tuple[str, Path]]:
        """Yield the user's modules that were looked up or imported, but are hidden by installed modules.

        Yields:
            The name, and the user's file.
        """
        names = {name.split(".")[0] for name in self._modules}
        for module in list(self._modules.values()):
            if module is not None and module.scope is not None and self._is_own(module.spec.origin):
                bindings = module.scope.names.values()
                imported = [each.module for each in bindings if isinstance(each, ImportedName)]
                names |= {name.split(".")[0] for name in (*imported, *module.scope.stars)}
        for name in sorted(names):
            if file := self.hidden_file(name):
                yield name, file

    def hidden_file(self, name: str) -> Path | None:
        """The user's file of a module that an installed module of the same name hides, if any."""
        own, imported = PathFinder.find_spec(name, self.own), self._spec(name)
        if own is None or not own.origin or imported is None or self._is_own(imported.origin):
            return None
        return Path(own.origin)

    def _is_own(self, file: str | None) -> bool:
        return file is not None and any(Path(file).is_relative_to(folder) for folder in self.own)

    def _spec(self, name: str) -> ModuleSpec | None:
        for copies in self.copies:
            if (spec := copies.find_spec(name)) is not None:
                if spec.loader is not None:
                    spec.origin = str(copies.folder / copies.modules[name].file)
                return spec
        parent, _, _ = name.rpartition(".")
        if not parent:
            return (
                BuiltinImporter.find_spec(name)
                or FrozenImporter.find_spec(name)
                or PathFinder.find_spec(name, self.paths)
            )
        package = (
            self._spec(parent)
            if parent not in self._modules
            else getattr(self._modules[parent], "spec", None)
        )
        if package is None or package.submodule_search_locations is None:
            return None
        return PathFinder.find_spec(name, package.submodule_search_locations)

    def lookup(self, path: str) -> ResolvedName | MissingName | UnknownName:
        """Find what a dotted path names.

        Raises:
            BrokenModule: if a module on the way does not parse.
        """
        first, *rest = path.split(".")
        module = self.module(first)
        if module is None:
            return MissingName(f"there is no module '{first}'", first, tuple(self.top_names()), module=True)
        while rest:
            here = f"{module.name}.{rest[0]}"
            # A name before another dot is the submodule if there is one: no need to read torch/__init__.py.
            if len(rest) > 1 and (inner := self.module(here)):
                module, rest = inner, rest[1:]
                continue
            resolved = self.name_in(module, rest[0])
            if isinstance(resolved, Module):
                module, rest = resolved, rest[1:]
                continue
            return self._inside(resolved, rest[1:])
        return MissingName(f"'{path}' is a module", "", tuple(sorted(_public(module.scope))))

    def _inside(
        self, resolved: ResolvedName | MissingName | UnknownName, rest: Sequence[str]
    ) -> ResolvedName | MissingName | UnknownName:
        """Find a method or nested class: `module.Class.from_config`."""
        for name in rest:
            if not isinstance(resolved, ResolvedName):
                return resolved
            if not isinstance(resolved.node, ast.ClassDef):
                return MissingName(f"'{resolved.node.name}' is a function: it has no '{name}'", name)
            members = {node.name: node for node in resolved.node.body if isinstance(node, Definition)}
            if name not in members:
                return UnknownName(f"'{name}' is not written in class {resolved.node.name} itself")
            resolved = ResolvedName(members[name], resolved.module)
        return resolved

    def name_in(
        self, module: Module, name: str, visited: frozenset[tuple[str, str]] = frozenset()
    ) -> Module | ResolvedName | MissingName | UnknownName:
        """Find one name of a module, through imports, star imports and aliases."""
        if (module.name, name) in visited:
            return MissingName(f"'{name}' is not in {module.name}", name)
        visited |= {(module.name, name)}
        if module.scope is None:
            return self.module(f"{module.name}.{name}") or UnknownName(f"{module.name} is not Python source")
        if name in module.scope.lazy:  # first: for type checkers, such a name is often bound as well
            return self.lookup(module.scope.lazy[name])
        if name in module.scope.names:
            resolved = self._follow(module, name, visited)
            if not isinstance(resolved, MissingName):
                return resolved
        if inner := self.module(f"{module.name}.{name}"):
            return inner
        uncertain = module.scope.dynamic
        for star in reversed(module.scope.stars):
            origin = self.module(star)
            resolved = (
                self.name_in(origin, name, visited) if origin else UnknownName(f"{star} is not installed")
            )
            if isinstance(resolved, UnknownName):
                uncertain = True
            elif not isinstance(resolved, MissingName):
                return resolved
        if uncertain:
            return UnknownName(f"{module.name} creates names when it is imported")
        if name in module.scope.names:
            return UnknownName(f"'{name}' in {module.name} comes from a module that is not installed")
        return MissingName(f"'{name}' is not in {module.name}", name, tuple(sorted(self.names_of(module))))

    def _follow(
        self, module: Module, name: str, visited: frozenset[tuple[str, str]]
    ) -> Module | ResolvedName | MissingName | UnknownName:
        assert module.scope is not None
        binding = module.scope.names[name]
        if isinstance(binding, Definition):
            return ResolvedName(binding, module)
        if isinstance(binding, ImportedName):
            origin = self.module(binding.module)
            if origin is None:
                return MissingName(f"there is no module '{binding.module}'", name)
            return origin if binding.name is None else self.name_in(origin, binding.name, visited)
        return self.expression(module, binding, visited) or UnknownName(
            "bound to the result of an expression"
        )

    def expression(
        self, module: Module, node: ast.expr, visited: frozenset[tuple[str, str]] = frozenset()
    ) -> Module | ResolvedName | MissingName | UnknownName | None:
        """Find what `Name`, `module.Name` or `Generic[T]` means in a module; None for other expressions."""
        if isinstance(node, ast.Subscript):
            return self.expression(module, node.value, visited)
        if isinstance(node, ast.Name):
            return self.name_in(module, node.id, visited)
        if isinstance(node, ast.Attribute):
            outer = self.expression(module, node.value, visited)
            if isinstance(outer, Module):
                return self.name_in(outer, node.attr, visited)
            return self._inside(outer, [node.attr]) if isinstance(outer, ResolvedName) else outer
        return None

    def names_of(self, module: Module, visited: frozenset[str] = frozenset()) -> set[str]:
        """List a module's public names, star imports and submodules included."""
        if module.name in visited:
            return set()
        names = set(_public(module.scope))
        for star in module.scope.stars if module.scope else ():
            origin = self.module(star)
            names |= self.names_of(origin, visited | {module.name}) if origin else set()
        return names | set(_files_in(module.spec.submodule_search_locations or ()))

    def top_names(self) -> Iterator[str]:
        """Yield likely first names of a dotted path: the usual packages, and the user's own modules."""
        yield from (
            "torch",
            "optuna",
            "pytorch_optimizer",
            "pytorch_scheduler",
            "sklearn",
            "schedulers",
            "trainables",
        )
        yield from sorted(set(_files_in(self.own)))


def _copies(folder: str) -> Snapshot | None:
    """The copies of modules in a folder; None if there are none, or an import would report an error."""
    try:
        modules = read_manifest(Path(folder))
    except ValueError:
        return None
    return Snapshot(Path(folder), modules) if modules else None


def _public(scope: Scope | None) -> Iterator[str]:
    return (name for name in ({**scope.lazy, **scope.names} if scope else ()) if not name.startswith("_"))


def _files_in(folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        if Path(folder).is_dir():
            yield from (
                file.stem
                for file in Path(folder).glob("*.py")
                if file.stem.isidentifier() and file.stem[0] != "_"
            )


def _scope(spec: ModuleSpec) -> Scope | None:
    """Read a module's names; None if it has no source."""
    if spec.origin is None and spec.submodule_search_locations is not None:
        return Scope()  # a folder without __init__.py
    if not spec.origin or not spec.origin.endswith(".py"):
        return None
    file = Path(spec.origin)
    try:
        state = file.stat()
        return _read_scope(
            spec.origin, spec.name, spec.submodule_search_locations is not None, state.st_mtime_ns
        )
    except OSError:
        return None


@lru_cache(maxsize=512)
def _read_scope(file: str, name: str, is_package: bool, mtime_ns: int) -> Scope:
    try:
        tree = ast.parse(Path(file).read_bytes(), file)
    except SyntaxError as error:
        raise BrokenModule(f"{Path(file).name}:{error.lineno} is not valid Python: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; absurd nesting
        raise BrokenModule(f"{Path(file).name} is not valid Python: {error}") from error
    reader = _ScopeReader(name if is_package else name.rpartition(".")[0])
    reader.read(tree.body, certain=True)
    lazy = _lazy_names(reader.names)
    return Scope(
        reader.names, reader.stars, reader.dynamic or ("__getattr__" in reader.names and not lazy), lazy
    )


def _lazy_names(names: dict[str, Binding]) -> dict[str, str]:
    """The names in a literal table that a module's `__getattr__` imports on first use, with their paths."""
    lazy: dict[str, str] = {}
    getter = names.get("__getattr__")
    for table, value in names.items():
        if not isinstance(value, ast.Dict) or not isinstance(getter, ast.FunctionDef):
            continue
        if not any(isinstance(node, ast.Name) and node.id == table for node in ast.walk(getter)):
            continue
        for key, path in zip(value.keys, value.values, strict=True):
            if (
                isinstance(key, ast.Constant)
                and isinstance(path, ast.Constant)
                and isinstance(path.value, str)
            ):
                lazy[str(key.value)] = path.value.replace(":", ".")
    return lazy


class _ScopeReader:
    """Reads a module's top level with all branches; the first branch that binds a name counts."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.names: dict[str, Binding] = {}
        self.stars: list[str] = []
        self.dynamic = False

    def bind(self, name: str, binding: Binding, certain: bool) -> None:
        if certain or name not in self.names:
            self.names[name] = binding

    def read(self, body: Iterable[ast.stmt], certain: bool) -> None:
        for node in body:
            if isinstance(node, Definition):
                self.bind(node.name, node, certain)
            elif isinstance(node, ast.ImportFrom):
                self.import_from(node, certain)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    whole = alias.name if alias.asname else alias.name.split(".")[0]
                    self.bind(alias.asname or whole, ImportedName(whole), certain)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    self.assign(target, node.value, certain)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self.assign(node.target, node.value, certain)
            elif isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
                self.branches(node)
            elif isinstance(node, ast.Expr) and _touches_globals(node):
                self.dynamic = True

    def branches(self, node: ast.If | ast.Try | ast.With | ast.For | ast.While) -> None:
        self.read(node.body, certain=False)
        for handler in getattr(node, "handlers", ()):
            self.read(handler.body, certain=False)
        self.read(getattr(node, "orelse", ()), certain=False)
        self.read(getattr(node, "finalbody", ()), certain=False)
        self.dynamic |= _touches_globals(node)

    def assign(self, target: ast.expr, value: ast.expr, certain: bool) -> None:
        if isinstance(target, ast.Name):
            self.bind(target.id, value, certain)
        elif isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                self.assign(part, ast.Constant(value=None), certain)
        elif _touches_globals(target):
            self.dynamic = True

    def import_from(self, node: ast.ImportFrom, certain: bool) -> None:
        module = node.module or ""
        if node.level:
            outer = self.package.rsplit(".", node.level - 1)[0] if node.level > 1 else self.package
            module = f"{outer}.{module}" if module else outer
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
            else:
                self.bind(alias.asname or alias.name, ImportedName(module, alias.name), certain)


def _touches_globals(node: ast.AST) -> bool:
    """Whether a statement writes into the module's own names at run time."""
    return any(
        isinstance(inner, ast.Name) and inner.id in ("globals", "vars", "setattr", "exec")
        for inner in ast.walk(node)
    )
