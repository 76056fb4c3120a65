"""Imports user modules from the copies of their sources that were made when a study began.

A folder with a `modules.json` holds such copies; `install` makes Python find them before anything on
`sys.path`. Such a module runs the copy, but its `__file__` and a package's `__path__` are the original
ones, so that files beside it are found, and submodules that were not copied, too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

MANIFEST = "modules.json"


@dataclass(frozen=True, slots=True)
class SnapshotEntry:
    """One module of a snapshot.

    Attributes:
        file: its copy, relative to the snapshot; empty for a package without `__init__.py`.
        origin: the original file, or that package's folder.
        package: whether it is a package.
        sha256: of the copy.
    """

    file: str
    origin: str
    package: bool
    sha256: str = ""


def read_manifest(folder: Path) -> dict[str, SnapshotEntry]:
    """The modules of a snapshot by name; none if the folder is no snapshot.

    Raises:
        ValueError: if its manifest cannot be read.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    try:
        return {name: SnapshotEntry(**fields) for name, fields in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / MANIFEST}: cannot be read ({error})") from None


def install(folder: Path) -> bool:
    """Let imports of this process find the modules of a snapshot; False if the folder is none."""
    modules = read_manifest(folder)
    if modules and not any(
        isinstance(finder, Snapshot) and finder.folder == folder for finder in sys.meta_path
    ):
        sys.meta_path.insert(0, Snapshot(folder, modules))
    return bool(modules)


@dataclass(frozen=True)
class Snapshot(MetaPathFinder):
    """Finds the modules of one snapshot.

    Args:
        folder: the snapshot.
        modules: its modules by name.
    """

    folder: Path
    modules: Mapping[str, SnapshotEntry]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module of the snapshot."""
        entry = self.modules.get(fullname)
        if entry is None:
            return None
        loader = _Copy(str(self.folder / entry.file)) if entry.file else None
        spec = ModuleSpec(fullname, loader, origin=entry.origin, is_package=entry.package)
        spec.has_location = loader is not None
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(str(Path(entry.origin).parent if loader else entry.origin))
        return spec


class _Copy(SourceLoader):
    """Loads a copy; it is compiled each time, so that nothing is written into the snapshot."""

    def __init__(self, file: str) -> None:
        self.file = file

    def get_filename(self, fullname: str) -> str:
        """The file of the copy, which tracebacks show."""
        return self.file

    def get_data(self, path: str) -> bytes:
        """The source code."""
        return Path(path).read_bytes()
