"""Copies of the user's modules in the study, so that editing the originals does not change a running sweep.

Copied are the modules that the sweep's dotted paths name and the modules they import, if they come from the
sweep's import paths. Imports are read from the source, also those inside functions and
`importlib.import_module("…")`. Installed packages and this project are recorded by version and commit.
"""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from raysweep.config import Sweep
from raysweep.study.storage.files import RESTORE
from raysweep.study.storage.layout import NotAStudy, StudyFolder
from trainables.imports import CLONE, dotted_paths
from trainables.module_snapshot import MANIFEST, SnapshotEntry, read_manifest

OURS = ("schedulers", "trainables", "raysweep", "launch")
COPIES = "as-it-was"  # not a module name, so that the copies are imported through the manifest only
INSTALLED = ("site-packages", "dist-packages")


def keep_code(folder: StudyFolder, sweep: Sweep) -> None:
    """Copy the modules that the sweep runs into the study; an earlier copy is kept under another name.

    Raises:
        OSError: if a file cannot be read or written.
    """
    roots = [path for path in sweep.import_paths if Path(path) != folder.code_dir]
    gathered = _Gathering(roots)
    sections = {"run", "search_space", "sampler", "trial_scheduler", "points_to_evaluate", "subscribers"}
    for path in dotted_paths(sweep.model_dump(mode="json", include=sections)):
        gathered.add_dotted_path(path)
    draft = folder.code_dir.with_name(f"{folder.code_dir.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    for name, source in gathered.sources.items():
        copy = draft / gathered.kept[name].file
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source)
    if folder.code_dir.exists():
        count = len(list(folder.path.glob(f"{folder.code_dir.name}-*")))
        folder.code_dir.rename(folder.code_dir.with_name(f"{folder.code_dir.name}-{count + 1}"))
    if gathered.sources:
        manifest = {name: asdict(kept) for name, kept in gathered.kept.items()}
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        draft.rename(folder.code_dir)


def users_modules(settings: Mapping[str, Any], folders: Sequence[str]) -> frozenset[str]:
    """The names of the user's modules that the dotted paths in some settings refer to.

    Args:
        settings: nested; any text in them may be a dotted path.
        folders: with the user's modules; a study's copies may be among them.
    """
    gathered = _Gathering(folders)
    for path in dotted_paths(settings):
        gathered.add_dotted_path(path)
    return frozenset(gathered.kept)


def code_fingerprint(folder: StudyFolder) -> str:
    """A hash of the study's own copies; "" if there are none."""
    digests = sorted(f"{name} {kept.sha256}" for name, kept in _read_copies(folder.code_dir).items())
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16] if digests else ""


def list_differences(folder: StudyFolder, provenance: Mapping[str, Any], data_fingerprint: str) -> list[str]:
    """What has changed since the study last ran, one sentence each.

    Args:
        folder: the study.
        provenance: of its last attempt; empty for a new study.
        data_fingerprint: of the data as loaded now.
    """
    differences = []
    for name, kept in _read_copies(folder.code_dir).items():
        origin = Path(kept.origin)
        if kept.sha256 and origin.is_file() and _sha256(origin.read_bytes()) != kept.sha256:
            differences.append(
                f"{origin} has changed since; the study continues with its own copy, "
                f"{folder.code_dir / kept.file} (`resume --adopt-code` takes the new {name})"
            )
    before = provenance.get("data_fingerprint")
    if before and before != data_fingerprint:
        differences.append(
            f"the data have changed since the study began (fingerprint {str(before)[:12]}, "
            f"now {data_fingerprint[:12]}): its trials cannot be compared with one another"
        )
    return differences


class _Gathering:
    """The user's modules among those added, and all that they import.

    Args:
        roots: folders with the user's modules; an earlier snapshot may be among them.
    """

    def __init__(self, roots: Sequence[str]) -> None:
        self.roots = [str(Path(root).resolve()) for root in roots]
        self.earlier: dict[str, tuple[Path, SnapshotEntry]] = {
            name: (Path(root), kept)
            for root in reversed(self.roots)
            for name, kept in _read_copies(Path(root)).items()
        }
        self.kept: dict[str, SnapshotEntry] = {}
        self.sources: dict[str, bytes] = {}
        self._specs: dict[str, ModuleSpec | None] = {}

    def add_dotted_path(self, path: str) -> None:
        """Add the packages and the module that a dotted path begins with."""
        names = path.split(".")
        for end in range(1, len(names) + 1):
            if not self._add_module(".".join(names[:end])):
                return

    def _add_module(self, name: str) -> bool:
        """Add a module whose packages have been added; False if it is not the user's."""
        if name in self.kept:
            return True
        if name in self.earlier:
            folder, kept = self.earlier[name]
            source = (folder / kept.file).read_bytes() if kept.file else None
            self._keep(name, kept, source)
            return True
        spec = self._spec(name)
        if spec is None or not self._is_users(name, spec):
            return False
        if spec.origin is None:  # a folder without __init__.py
            self._keep(name, SnapshotEntry("", _location(spec), package=True), None)
        else:
            source = Path(spec.origin).read_bytes()
            package = spec.submodule_search_locations is not None
            file = f"{COPIES}/{name.replace('.', '/')}" + ("/__init__.py" if package else ".py")
            self._keep(name, SnapshotEntry(file, spec.origin, package, _sha256(source)), source)
        return True

    def _keep(self, name: str, kept: SnapshotEntry, source: bytes | None) -> None:
        self.kept[name] = kept
        if source is not None:
            self.sources[name] = source
            package = name if kept.package else name.rpartition(".")[0]
            for imported in imported_names(source, package):
                self.add_dotted_path(imported)

    def _spec(self, name: str) -> ModuleSpec | None:
        """The spec of a module on a worker, where `sys.path` ends with the roots; None if there is none."""
        if name not in self._specs:
            parent, _, _ = name.rpartition(".")
            if not parent:
                self._specs[name] = PathFinder.find_spec(name, [*sys.path, *self.roots])
            else:
                outer = self._spec(parent)
                folders = outer.submodule_search_locations if outer is not None else None
                self._specs[name] = PathFinder.find_spec(name, list(folders)) if folders else None
        return self._specs[name]

    def _is_users(self, name: str, spec: ModuleSpec) -> bool:
        """Whether a module is Python source below a root, not installed and not of this project."""
        if spec.origin is not None and not spec.origin.endswith(".py"):
            return False
        path = Path(_location(spec)).resolve()
        if name.split(".")[0] in OURS and path.is_relative_to(CLONE):
            return False
        return not set(INSTALLED) & set(path.parts) and any(path.is_relative_to(root) for root in self.roots)


def imported_names(source: bytes, package: str) -> Iterator[str]:
    """Full names of everything that a module's source imports; empty if it does not parse.

    Args:
        source: of the module.
        package: base of relative imports.

    >>> list(imported_names(b"import a.b" + bytes([10]) + b"from .c import d", "p"))
    ['a.b', 'p.c.d']
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = [*above, *filter(None, [node.module])]
            yield from (".".join([*base, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def _read_copies(folder: Path) -> dict[str, SnapshotEntry]:
    """The entries of a folder's snapshot by module name; empty if it holds none.

    Raises:
        NotAStudy: if the manifest is damaged.
    """
    try:
        return read_manifest(folder)
    except ValueError as error:
        raise NotAStudy(f"{error}; {RESTORE}, or delete it and `launch.py resume --adopt-code`") from None


def _location(spec: ModuleSpec) -> str:
    """The module's file, or the first folder of a package that has none."""
    return spec.origin or next(iter(spec.submodule_search_locations or [""]))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
