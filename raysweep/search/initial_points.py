"""What is tried before the sampler has a say: the baseline, then the user's own points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from raysweep.search.optuna_space import OptunaSpace

Source = Literal["baseline", "point", "sampler"]


class Proposal(NamedTuple):
    """What to try next.

    Attributes:
        config: flat; with a `trial.seed` where a configuration is tried again under another seed.
        source: where it comes from.
        draws: how often the sampler was asked, for it proposed what was tried already.
        same_as: a trial that was this configuration and has ended, where its result is to be taken.
    """

    config: dict[str, Any]
    source: Source
    draws: int = 1
    same_as: str = ""


class InitialPoints:
    """The line of configurations to try first. Each is taken once, live or in a replay.

    Args:
        space: what is searched.
        baseline: the configuration that would run without a search; keys that are not searched are
            ignored. It is skipped, with a note, where it lies outside the space.
        points: flat and possibly partial configurations.
        once: whether a whole configuration that is in line already is left out.

    Attributes:
        notes: why the baseline is skipped.

    Raises:
        ValueError: for a point that names what is not searched or a value outside its domain.
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
        wanted = [check_point(space, point) for point in points]
        if once:
            wanted = _only_new(space, wanted, own if self._baseline is not None else None)
        self._points = [space.encode(point) for point in wanted]

    def source(self, number: int) -> Source:
        """Where trial `number` comes from: the baseline is number 0 or never."""
        if number == 0 and self._baseline is not None:
            return "baseline"
        return "point" if self._points else "sampler"

    def take(self, source: str) -> dict[str, Any] | None:
        """The next of `source`, as Optuna holds its values; None if the sampler draws everything.

        A recorded baseline or point that is no longer in line (the file was changed) is empty.
        """
        if source == "sampler":
            return None
        if source == "baseline":
            return self._baseline or {}
        return self._points.pop(0) if self._points else {}


def _only_new(
    space: OptunaSpace, points: Iterable[Mapping[str, Any]], baseline: Mapping[str, Any] | None
) -> list[Mapping[str, Any]]:
    """The points without those that are whole and in line before; what a partial one lacks is drawn anew."""
    new: list[Mapping[str, Any]] = []
    for point in points:
        if not space.contains(point) or dict(point) not in [baseline, *map(dict, new)]:
            new.append(point)
    return new


def check_point(space: OptunaSpace, point: Mapping[str, Any]) -> Mapping[str, Any]:
    """The point, if it can be tried.

    Raises:
        ValueError: if it names what is not searched, or a value that it can never have.
    """
    for key, value in point.items():
        if not space.names_of(key):
            raise ValueError(f"points_to_evaluate: {key} is not searched; drop it")
        if not space.allows(key, value):
            raise ValueError(
                f"points_to_evaluate: {key} is never {value!r}; widen its range or drop the point"
            )
        if len(space.names_of(key)) > 1 and key not in map(space.key, space.encode(point)):
            beside = "with what the point says beside it; fix the one or the other"
            raise ValueError(f"points_to_evaluate: {key} is never {value!r} {beside}")
    return point


def _outside(space: OptunaSpace, config: Mapping[str, Any]) -> str:
    for name in space.order:
        if space.is_active(name, config):
            key = space.key(name)
            if key not in config:
                return f"it gives no {key}"
            if not space.domains[name].contains(config[key]):
                return f"{key} is searched, but never {config[key]!r}"
    return "it lies outside the search space"
