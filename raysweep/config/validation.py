"""From a document to a `Sweep`, and the findings of all checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from raysweep.config.call_checks import CallChecks, ConfigFinding
from raysweep.config.checks import Checks
from raysweep.config.document import Document
from raysweep.config.field_errors import wrong_values
from raysweep.config.lookup import Modules
from raysweep.config.problem import Key, Problem
from raysweep.config.search_space import SearchSpace
from raysweep.config.sweep import Sweep
from trainables.imports import CLONE


def import_paths(folders: Iterable[Path]) -> tuple[str, ...]:
    """Folders to look for modules: those of the files, the working directory, and the clone."""
    return tuple(dict.fromkeys(str(folder.resolve()) for folder in (*folders, Path.cwd(), CLONE)))


def validated(
    document: Document, space: SearchSpace, folders: Sequence[Path]
) -> tuple[Sweep | None, list[Problem], list[Key]]:
    """Make the sweep; if values are wrong, report them and make it without them, to check the rest.

    Returns:
        The sweep (None if it cannot be made), the problems, and the keys that were left out.
    """
    value = deepcopy(document.value) | {
        "search_space": space.parameters,
        "points_to_evaluate": (),  # see `read_points`
        "import_paths": import_paths(folders),
    }
    for key in ("sampler", "trial_scheduler", "tracking", "resources_per_trial", "stop", "budget", "stages"):
        if key in value and value[key] is None:
            del value[key]  # an empty `sampler:` leaves the default
    try:
        return Sweep.model_validate(value), [], []
    except ValidationError as error:
        problems = wrong_values(document, error)
        broken = [_leave_out(value, detail["loc"]) for detail in error.errors()]
    try:
        return Sweep.model_validate(value), problems, broken
    except ValidationError:
        return None, problems, broken


def _leave_out(value: dict[str, Any], loc: Key) -> Key:
    """Remove a wrong value, or the section that lacks one; returns its key."""
    key = loc[:2] if loc[0] == "run" else loc[:1]
    holder = value.get("run") if len(key) == 2 else value
    if isinstance(holder, dict):
        holder.pop(str(key[-1]), None)
    return key


def findings_of(document: Document, sweep: Sweep, space: SearchSpace) -> list[ConfigFinding]:
    """The findings of all checks of a sweep."""
    calls = CallChecks(document, sweep, space, Modules(sweep.import_paths))
    return [*calls.findings(), *Checks(document, sweep, space).findings()]
