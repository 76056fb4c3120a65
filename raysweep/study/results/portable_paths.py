"""The disk paths of a run config made absolute: it runs from any folder of this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raysweep.study.storage.code_snapshot import users_modules
from trainables.imports import CLONE
from trainables.run_config import GROUPS, flatten, overlay

_PATH_KEY = re.compile(r"(^|_)(path|file|filename|folder|directory|dir|root)s?($|_)", re.IGNORECASE)


def absolute_paths(run: Mapping[str, Any], folders: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """A run config with the relative paths in its components' keyword arguments made absolute.

    A text counts as a path if it looks like one, or its key says so, and one of the folders has such a file
    or folder; the first that has it wins, as it does when the data are loaded.

    Args:
        run: nested, as under `run:`.
        folders: where relative paths are looked for.

    Returns:
        The run config, and the flat keys that have changed.
    """
    changed: dict[str, Any] = {}
    for word in GROUPS:
        for key, value in flatten(run.get(word) or {}).items():
            found = _absolute(key, value, folders)
            if found != value:
                changed[f"{word}.{key}"] = found
    return overlay(run, changed), list(changed)


def module_folders(run: Mapping[str, Any], folders: Sequence[str]) -> list[str]:
    """The folders in which a run config's own modules, or its script, are found; none if all are installed.

    Args:
        run: nested, as under `run:`.
        folders: the sweep's import paths; a study's copies of modules come first among them.
    """
    if not run.get("command") and not users_modules(run, folders):
        return []
    return [folder for folder in folders if Path(folder).is_dir() and Path(folder).resolve() != CLONE]


def _absolute(key: str, value: Any, folders: Sequence[str]) -> Any:
    """A keyword's value, with an absolute path for each relative one in it that there is."""
    if isinstance(value, list):
        return [_absolute(key, each, folders) for each in value]
    if not isinstance(value, str) or not value or "://" in value or Path(value).is_absolute():
        return value
    looks_so = "/" in value or bool(Path(value).suffix)
    if not looks_so and not _PATH_KEY.search(key):
        return value
    try:
        places = (Path(folder) / value for folder in folders)
        return next((str(place.resolve()) for place in places if place.exists()), value)
    except OSError:  # a whole text is longer than a path can be
        return value
