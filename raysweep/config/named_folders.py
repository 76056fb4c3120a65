"""The `import_paths` of a sweep file or run config: folders of its modules and data files."""

from __future__ import annotations

from pathlib import Path

from raysweep.config.document import Document
from raysweep.config.problem import Key, Problem, shown


def take_import_paths(document: Document) -> tuple[list[Path], list[Problem], list[Problem]]:
    """Remove `import_paths` from a document, those of the sweep file and of the run config in it.

    Returns:
        The folders, relative ones from the folder of the file that names them; the problems; and warnings of
        folders that do not exist.
    """
    folders: list[Path] = []
    problems, missing = [], []
    for holder in ((), ("run",)):
        key: Key = (*holder, "import_paths")
        section = document.at(holder)
        if not isinstance(section, dict) or "import_paths" not in section:
            continue
        given = section.pop("import_paths")
        listed = [given] if isinstance(given, str) else given
        if not isinstance(listed, list) or not all(isinstance(each, str) and each for each in listed):
            what = f"{shown(given)} is not a list of folders"
            problems.append(document.problem(key, what, "as in 'import_paths: [../code]'"))
            continue
        location = document.locations.get(key)
        home = Path(location.file).parent if location is not None and location.line is not None else Path()
        for each in listed:
            folder = home / each
            folders.append(folder)
            if not folder.is_dir():
                fix = "it is ignored; fix the path, or drop it"
                missing.append(document.problem(key, f"there is no folder '{folder}'", fix))
    return folders, problems, missing
