"""Absolute paths in a run config, so that it runs from any folder of this machine."""

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
    """A run config in which the relative paths in its components' keyword arguments are absolute.

    A text is a path if it looks like one or its key says so, and it exists in one of the folders; the first
    such folder is used, as when the data are loaded.

    Args:
        run: nested, as under `run:`.
        folders: to look for relative paths.

    Returns:
        The run config, and the flat keys that have changed.
    """
    changed: dict[str, Any] = {}
    for group in GROUPS:
        for key, value in flatten(run.get(group) or {}).items():
            absolute = _absolute(key, value, folders)
            if absolute != value:
                changed[f"{group}.{key}"] = absolute
    return overlay(run, changed), list(changed)


def module_folders(run: Mapping[str, Any], folders: Sequence[str]) -> list[str]:
    """The folders with a run config's own modules or script; empty if it needs installed modules only.

    Args:
        run: nested, as under `run:`.
        folders: the sweep's import paths; a study's copies of modules come first.
    """
    if not run.get("command") and not users_modules(run, folders):
        return []
    return [folder for folder in folders if Path(folder).is_dir() and Path(folder).resolve() != CLONE]


def _absolute(key: str, value: Any, folders: Sequence[str]) -> Any:
    """A keyword's value, with an absolute path for each relative path in it that exists."""
    if isinstance(value, list):
        return [_absolute(key, each, folders) for each in value]
    if not isinstance(value, str) or not value or "://" in value or Path(value).is_absolute():
        return value
    looks_like_path = "/" in value or bool(Path(value).suffix)
    if not looks_like_path and not _PATH_KEY.search(key):
        return value
    try:
        paths = (Path(folder) / value for folder in folders)
        return next((str(path.resolve()) for path in paths if path.exists()), value)
    except OSError:  # a long text exceeds the length of a path
        return value
