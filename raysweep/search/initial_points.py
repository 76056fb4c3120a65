"""The configurations tried before the sampler's: the baseline, then the user's own points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from raysweep.search.optuna_space import OptunaSpace

Source = Literal["baseline", "point", "sampler"]


class Proposal(NamedTuple):
    """A configuration to try.

    Attributes:
        config: flat; with a `trial.seed` if a configuration is tried again with another seed.
        source: where it comes from.
        draws: how often the sampler was asked; more than once if it proposed duplicates.
        same_as: an ended trial of the same configuration whose result is to be used; "" to run it.
    """

    config: dict[str, Any]
    source: Source
    draws: int = 1
    same_as: str = ""


class InitialPoints:
    """The queue of configurations to try first. Each is taken once, live or in a replay.

    Args:
        space: the search space.
        baseline: the configuration that would run without a search; keys that are not searched are
            ignored. It is skipped, with a note, if it lies outside the space.
        points: flat and possibly partial configurations.
        once: whether complete duplicates are left out.

    Attributes:
        notes: why the baseline is skipped, if it is.

    Raises:
        ValueError: if a point has a key that is not searched, or a value outside its domain.
    """

    def __init__(
        self,
        space: OptunaSpace,
        baseline: Mapping[str, Any] | None,
        points: Iterable[Mapping[str, Any]],
        once: bool = False,
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self._baseline: dict[str, Any] | None = None
        own: dict[str, Any] = {}
        if baseline is not None:
            own = space.active_part(baseline)
            if space.contains(own):
                self._baseline = dict(space.encode(own))
            else:
                self.notes = (f"the baseline is skipped: {_outside(space, own)}",)
        checked = [check_point(space, point) for point in points]
        if once:
            checked = _without_duplicates(space, checked, own if self._baseline is not None else None)
        self._points = [space.encode(point) for point in checked]

    def source(self, number: int) -> Source:
        """Where trial `number` comes from; only trial 0 is the baseline."""
        if number == 0 and self._baseline is not None:
            return "baseline"
        return "point" if self._points else "sampler"

    def take(self, source: str) -> dict[str, Any] | None:
        """Take the next configuration of a source, encoded for Optuna; None if the sampler draws all values.

        The result is empty for a recorded baseline or point that the sweep no longer has.
        """
        if source == "sampler":
            return None
        if source == "baseline":
            return self._baseline or {}
        return self._points.pop(0) if self._points else {}


def _without_duplicates(
    space: OptunaSpace, points: Iterable[Mapping[str, Any]], baseline: Mapping[str, Any] | None
) -> list[Mapping[str, Any]]:
    """The points without complete duplicates; partial ones stay, since the sampler completes them."""
    new: list[Mapping[str, Any]] = []
    for point in points:
        if not space.contains(point) or dict(point) not in [baseline, *map(dict, new)]:
            new.append(point)
    return new


def check_point(space: OptunaSpace, point: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the point if it can be tried.

    Raises:
        ValueError: if it has a key that is not searched, or a value that its parameter never has.
    """
    for key, value in point.items():
        if not space.names_of(key):
            raise ValueError(f"points_to_evaluate: {key} is not searched; drop it")
        if not space.allows(key, value):
            raise ValueError(
                f"points_to_evaluate: {key} is never {value!r}; widen its range or drop the point"
            )
        if len(space.names_of(key)) > 1 and key not in map(space.key, space.encode(point)):
            together = "together with the point's other values; change one of them"
            raise ValueError(f"points_to_evaluate: {key} is never {value!r} {together}")
    return point


def _outside(space: OptunaSpace, config: Mapping[str, Any]) -> str:
    """Why a configuration lies outside a space."""
    for name in space.order:
        if space.is_active(name, config):
            key = space.key(name)
            if key not in config:
                return f"it has no {key}"
            if not space.domains[name].contains(config[key]):
                return f"{key} is searched, but never {config[key]!r}"
    return "it lies outside the search space"
