"""User modules as they were when a study began: imported from the study's own copies of their sources.

A folder with a `modules.json` in it holds such copies; `install` makes Python find them before anything
on `sys.path`. A module so found runs the copy, but its `__file__` and a package's `__path__` are where it
came from: files that lie beside it are found, and so are submodules that nobody foresaw.
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
        origin: where it came from: a file, or that package's folder.
        package: whether it has submodules.
        sha256: of the copy.
    """

    file: str
    origin: str
    package: bool
    sha256: str = ""


def read_manifest(folder: Path) -> dict[str, SnapshotEntry]:
    """The modules that a snapshot holds, by name; none if the folder is no snapshot.

    Raises:
        ValueError: if its manifest cannot be read.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    try:
        return {name: SnapshotEntry(**words) for name, words in json.loads(text).items()}
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
        modules: what it holds.
    """

    folder: Path
    modules: Mapping[str, SnapshotEntry]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module that was kept."""
        kept = self.modules.get(fullname)
        if kept is None:
            return None
        loader = _Copy(str(self.folder / kept.file)) if kept.file else None
        spec = ModuleSpec(fullname, loader, origin=kept.origin, is_package=kept.package)
        spec.has_location = loader is not None
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(str(Path(kept.origin).parent if loader else kept.origin))
        return spec


class _Copy(SourceLoader):
    """Runs a copy; compiled anew each time, so that nothing is written into the snapshot."""

    def __init__(self, file: str) -> None:
        self.file = file

    def get_filename(self, fullname: str) -> str:
        """Where the code is read from: tracebacks show it."""
        return self.file

    def get_data(self, path: str) -> bytes:
        """The source."""
        return Path(path).read_bytes()
