"""Reads `points_to_evaluate`, the configurations to try before any sampled one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from raysweep.config.document import Document
from raysweep.config.parameter import domain_fields
from raysweep.config.problem import Key, Problem, nearest, shown, suggestion
from raysweep.config.search_space import SearchSpace
from schedulers.space import Float
from trainables.run_config import flatten


def read_points(
    document: Document, space: SearchSpace, suspect: Collection[str] = ()
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Read every point, flat or nested, and check it against the search space.

    A point may leave parameters out; they are sampled.

    Args:
        document: the sweep file, with positions.
        space: the search space.
        suspect: parameters that are most likely misspelt, which has been reported.

    Returns:
        The valid points, flat; and the problems of the others.
    """
    raw = document.at(("points_to_evaluate",))
    problems: list[Problem] = []
    points: list[dict[str, Any]] = []
    if raw is None:
        return points, problems
    if not isinstance(raw, list):
        fix = "write a list, '- {optimizer_config.lr: 0.1}' a line"
        return points, [document.problem(("points_to_evaluate",), f"{shown(raw)} is no list", fix)]
    for index, point in enumerate(raw):
        key: Key = ("points_to_evaluate", index)
        if not isinstance(point, dict) or not point:
            fix = "write '{optimizer_config.lr: 0.1}'"
            problems.append(document.problem(key, f"{shown(point)} is no point", fix))
            continue
        flat = flatten(point)
        more = [
            problem
            for name, value in flat.items()
            if name in space.keys or nearest(name, space.keys) not in suspect
            for problem in _misplaced(document, space, key, name, value)
        ]
        problems += more
        if not more:
            points.append({name: _as_float(space, name, value) for name, value in flat.items()})
    return points, problems


def _misplaced(document: Document, space: SearchSpace, key: Key, name: str, value: Any) -> list[Problem]:
    at: Key = (*key, name) if name in document.at(key) else (*key, *name.split("."))
    if name not in space.keys:
        fix = suggestion(name, space.keys, "only what search_space names can be given")
        return [document.problem(at, "is not searched", fix)]
    if name not in space.parameters:
        return []  # that parameter has a problem of its own
    domain = space.parameters[name].domain
    if domain.contains(value):
        return []
    fix = f"that is {shown(domain_fields(domain))}"
    return [document.problem(at, f"{shown(value)} is not in the searched range", fix)]


def _as_float(space: SearchSpace, name: str, value: Any) -> Any:
    """A value, a whole number as a float if the parameter is one."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and name in space.parameters and isinstance(space.parameters[name].domain, Float):
        return float(value)
    return value
