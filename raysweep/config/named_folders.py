"""The folders that a sweep file, or a run config, names for its modules and data files."""

from __future__ import annotations

from pathlib import Path

from raysweep.config.document import Document
from raysweep.config.problem import Key, Problem, shown


def take_import_paths(document: Document) -> tuple[list[Path], list[Problem], list[Problem]]:
    """Take `import_paths` out of a document: that of a sweep file, and that of a run config in it.

    Returns:
        The folders, a relative one as meant from the folder of the file that names it; what is wrong; and
        what is odd: folders that are not there.
    """
    folders: list[Path] = []
    problems, missing = [], []
    for holder in ((), ("run",)):
        key: Key = (*holder, "import_paths")
        words = document.at(holder)
        if not isinstance(words, dict) or "import_paths" not in words:
            continue
        given = words.pop("import_paths")
        listed = [given] if isinstance(given, str) else given
        if not isinstance(listed, list) or not all(isinstance(each, str) and each for each in listed):
            what = f"{shown(given)} is not a list of folders"
            problems.append(document.problem(key, what, "as in 'import_paths: [../code]'"))
            continue
        place = document.places.get(key)
        home = Path(place.file).parent if place is not None and place.line is not None else Path()
        for each in listed:
            folder = home / each
            folders.append(folder)
            if not folder.is_dir():
                fix = "the others are looked through; fix the path, or drop it"
                missing.append(document.problem(key, f"there is no folder '{folder}'", fix))
    return folders, problems, missing
