"""The user's modules that a study runs, copied into the study: editing them in mid-sweep changes nothing.

Kept are the modules that the sweep's dotted paths name and those they import, found by reading their
source (imports inside functions and `importlib.import_module("…")` included), as long as they come from
the sweep's own import paths. What is installed, and this project, is named by its version and its commit.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from raysweep.config import Sweep
from raysweep.study.storage.files import RESTORE
from raysweep.study.storage.layout import NotAStudy, StudyFolder
from trainables.imports import CLONE
from trainables.module_snapshot import MANIFEST, SnapshotEntry, read_manifest

OURS = ("schedulers", "trainables", "raysweep", "launch")
COPIES = "as-it-was"  # no module's name: from the snapshot, too, they are found by its manifest only
INSTALLED = ("site-packages", "dist-packages")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def keep_code(folder: StudyFolder, sweep: Sweep) -> None:
    """Copy the modules that the sweep runs into the study; an earlier copy is kept under another name.

    Raises:
        OSError: from a disk that refuses.
    """
    roots = [path for path in sweep.import_paths if Path(path) != folder.code_dir]
    gathered = _Gathering(roots)
    for name in dotted_paths(sweep):
        gathered.dotted(name)
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


def dotted_paths(sweep: Sweep) -> Iterator[str]:
    """Everything in a sweep that could be a dotted path: nets may stand among a search's choices too."""
    words = sweep.model_dump(
        mode="json",
        include={"run", "search_space", "sampler", "trial_scheduler", "points_to_evaluate", "subscribers"},
    )
    return (text for text in _texts(words) if _DOTTED.fullmatch(text))


def users_modules(words: Mapping[str, Any], folders: Sequence[str]) -> frozenset[str]:
    """The modules of the user's own that a configuration's dotted paths lead through, by name.

    Args:
        words: in which anything may be a dotted path.
        folders: where the user's modules are; a study's copies of them may be among these.
    """
    gathered = _Gathering(folders)
    for text in _texts(words):
        if _DOTTED.fullmatch(text):
            gathered.dotted(text)
    return frozenset(gathered.kept)


def code_fingerprint(folder: StudyFolder) -> str:
    """A hash over the study's own copies; empty where there are none."""
    digests = sorted(f"{name} {kept.sha256}" for name, kept in _read_copies(folder.code_dir).items())
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16] if digests else ""


def list_differences(folder: StudyFolder, provenance: Mapping[str, Any], data_fingerprint: str) -> list[str]:
    """What is no longer as it was when the study last ran, a sentence each.

    Args:
        folder: the study.
        provenance: what its last attempt began with; empty for a new study, which has nothing to differ from.
        data_fingerprint: of the data as loaded now.
    """
    found = []
    for name, kept in _read_copies(folder.code_dir).items():
        origin = Path(kept.origin)
        if kept.sha256 and origin.is_file() and _sha256(origin.read_bytes()) != kept.sha256:
            found.append(
                f"{origin} has changed since; the study goes on with its own copy, "
                f"{folder.code_dir / kept.file} (`resume --adopt-code` takes the new {name})"
            )
    before = provenance.get("data_fingerprint")
    if before and before != data_fingerprint:
        found.append(
            f"the data are not those the study began with (fingerprint {str(before)[:12]}, "
            f"now {data_fingerprint[:12]}): its trials cannot be compared with one another"
        )
    return found


class _Gathering:
    """Follows imports from module to module.

    Args:
        roots: the folders whose modules are the user's; an earlier snapshot may be among them.
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

    def dotted(self, path: str) -> None:
        """Take the modules that a dotted path leads through."""
        names = path.split(".")
        for end in range(1, len(names) + 1):
            if not self.module(".".join(names[:end])):
                return

    def module(self, name: str) -> bool:
        """Take one module, its packages taken before; False if it is not the user's."""
        if name in self.kept:
            return True
        if name in self.earlier:
            folder, kept = self.earlier[name]
            source = (folder / kept.file).read_bytes() if kept.file else None
            self._take(name, kept, source)
            return True
        spec = self._spec(name)
        if spec is None or not self._is_users(name, spec):
            return False
        if spec.origin is None:  # a folder without __init__.py
            self._take(name, SnapshotEntry("", _place(spec), package=True), None)
        else:
            source = Path(spec.origin).read_bytes()
            package = spec.submodule_search_locations is not None
            file = f"{COPIES}/{name.replace('.', '/')}" + ("/__init__.py" if package else ".py")
            self._take(name, SnapshotEntry(file, spec.origin, package, _sha256(source)), source)
        return True

    def _take(self, name: str, kept: SnapshotEntry, source: bytes | None) -> None:
        self.kept[name] = kept
        if source is not None:
            self.sources[name] = source
            package = name if kept.package else name.rpartition(".")[0]
            for imported in imported_names(source, package):
                self.dotted(imported)

    def _spec(self, name: str) -> ModuleSpec | None:
        """Where Python would find it, on a worker whose path ends with the roots."""
        if name not in self._specs:
            parent, _, _ = name.rpartition(".")
            if not parent:
                self._specs[name] = PathFinder.find_spec(name, [*sys.path, *self.roots])
            else:
                outer = self._spec(parent)
                places = outer.submodule_search_locations if outer is not None else None
                self._specs[name] = PathFinder.find_spec(name, list(places)) if places else None
        return self._specs[name]

    def _is_users(self, name: str, spec: ModuleSpec) -> bool:
        """Whether it is Python source below a root, neither installed nor of this project."""
        if spec.origin is not None and not spec.origin.endswith(".py"):
            return False
        place = Path(_place(spec)).resolve()
        if name.split(".")[0] in OURS and place.is_relative_to(CLONE):
            return False
        return not set(INSTALLED) & set(place.parts) and any(
            place.is_relative_to(root) for root in self.roots
        )


def imported_names(source: bytes, package: str) -> Iterator[str]:
    """Whatever a module's source imports, anywhere in it, by full name; nothing if it does not parse.

    Args:
        source: of a module.
        package: that relative imports start from.

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
    """The modules that a snapshot holds, by name.

    Raises:
        NotAStudy: if its manifest is damaged.
    """
    try:
        return read_manifest(folder)
    except ValueError as error:
        raise NotAStudy(f"{error}; {RESTORE}, or `launch.py resume --adopt-code` after deleting it") from None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, Iterable):
        for inner in value:
            yield from _texts(inner)


def _place(spec: ModuleSpec) -> str:
    """The module's file, or the first folder of a package that has none."""
    return spec.origin or next(iter(spec.submodule_search_locations or [""]))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
