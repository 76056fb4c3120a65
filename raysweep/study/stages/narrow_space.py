"""A search space made smaller: around the best trials, and by what is fixed.

Never beyond what was declared, and never without the trials it is narrowed around. Positions are those
of the unit interval, so that a log range is narrowed by orders of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysweep.config.parameter import Parameter, holds, hull, wanted
from schedulers.space import Categorical, Domain, Float, Int

LEAST_SPREAD = 0.2
"""Share of a range that a few good trials are taken to cover: five that lie closer may do so by chance."""

Space = Mapping[str, Parameter]
Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NarrowedSpace:
    """What became of one parameter, or of one of its cases.

    Attributes:
        key: flat.
        before: as declared.
        after: what is searched now.
        values: it was narrowed around these.
        when: the case's condition; empty without cases.
    """

    key: str
    before: Domain
    after: Domain
    values: tuple[Any, ...]
    when: Mapping[str, Any]


def narrowings(space: Space, around: Mapping[str, Sequence[Config]], margin: float) -> list[NarrowedSpace]:
    """What becomes of each parameter, the cases of one by themselves.

    Args:
        space: as declared, of what is searched now.
        around: the best trials' configurations, for each parameter those that are to count for it.
        margin: by how much of their spread a range is widened on either side.
    """
    found = []
    for key, parameter in space.items():
        for case in parameter.cases or (parameter,):
            when = case.when if parameter.cases else {}
            values = tuple(
                config[key]
                for config in around.get(key, ())
                if key in config and case.domain.contains(config[key]) and holds(case.when, config)
            )
            after = narrow(case.domain, values, margin) if values else case.domain
            found.append(NarrowedSpace(key, case.domain, after, values, when))
    return found


def active(space: Space, config: Config) -> dict[str, Any]:
    """Of a configuration, what is searched and active under it; a parameter is, if its conditions hold."""
    part: dict[str, Any] = {}
    while True:
        more = {
            key: config[key]
            for key, parameter in space.items()
            if key in config and any(holds(case.when, part) for case in parameter.cases or (parameter,))
        }
        if more.keys() == part.keys():
            return more
        part = more


def narrow(domain: Domain, values: Sequence[Any], margin: float) -> Domain:
    """The part of a domain around some of its values.

    A range's ends are the outermost values, moved outward by `margin` times their spread, a spread below
    LEAST_SPREAD of the range counting as that. Of choices those stay that are among the values, and of
    ordered ones what lies between them; with a margin, their neighbours too.

    >>> narrow(Float(1e-4, 1.0, log=True), [1e-2, 1e-3], margin=0.5)
    Float(low=0.000316227..., high=0.0316227..., log=True, step=None)
    >>> narrow(Categorical(("relu", "tanh", "gelu")), ["gelu", "relu"], margin=0.5)
    Categorical(choices=('relu', 'gelu'), ordered=False)
    """
    if isinstance(domain, Categorical):
        return _chosen(domain, values, margin)
    units = [domain.to_unit(value) for value in values]
    pad = margin * max(max(units) - min(units), LEAST_SPREAD)
    low, high = min(values), max(values)
    if pad > 0:  # else not by way of the unit interval, which costs the last bit
        low, high = min(_at(domain, min(units) - pad), low), max(_at(domain, max(units) + pad), high)
    if isinstance(domain, Int):
        start, step = domain.low, domain.step
        first = start + math.floor((math.floor(low) - start) / step) * step
        last = start + math.ceil((math.ceil(high) - start) / step) * step
        return Int(max(first, start), min(last, domain.high), domain.log, step)
    if domain.step is None:
        return Float(max(low, domain.low), min(high, domain.high), domain.log)
    grid = domain.points()
    return Float(
        max((point for point in grid if point <= low), default=domain.low),
        min((point for point in grid if point >= high), default=domain.high),
        step=domain.step,
    )


def _at(domain: Float | Int, unit: float) -> float:
    """Where a position lies on a range's scale, between its values too; beyond 0 and 1, its ends."""
    return Float(domain.low, domain.high, domain.log).from_unit(unit)


def _chosen(domain: Categorical, values: Sequence[Any], margin: float) -> Categorical:
    kept = [
        place
        for place, choice in enumerate(domain.choices)
        if any(Categorical((choice,)).contains(value) for value in values)
    ]
    if domain.ordered:
        beside = 1 if margin else 0
        kept = list(range(max(min(kept) - beside, 0), min(max(kept) + beside + 1, len(domain.choices))))
    return Categorical(tuple(domain.choices[place] for place in kept), domain.ordered)


def rebuilt(space: Space, changes: Iterable[NarrowedSpace]) -> dict[str, Parameter]:
    """The space with every range as it became."""
    after: dict[str, list[Domain]] = {}
    for change in changes:
        after.setdefault(change.key, []).append(change.after)
    found = {}
    for key, parameter in space.items():
        cases = parameter.cases or (parameter,)
        new = [
            Parameter(domain=domain, when=case.when)
            for case, domain in zip(cases, after.get(key, [case.domain for case in cases]), strict=True)
        ]
        found[key] = _together(new, split=bool(parameter.cases))
    return found


def given(space: Space, keys: Iterable[str], fixed: Config) -> dict[str, Parameter]:
    """What of a space is searched where everything but `keys` is fixed.

    A condition on something fixed holds or does not: then the parameter is always there, or never.

    Args:
        space: as declared.
        keys: what is searched.
        fixed: the values of the others; what is missing is not there.
    """
    searched = [key for key in space if key in set(keys)]
    found = {}
    for key in searched:
        parameter = space[key]
        kept = []
        for case in parameter.cases or (parameter,):
            if holds({each: case.when[each] for each in case.when if each not in searched}, fixed):
                when = {each: value for each, value in case.when.items() if each in searched}
                kept.append(Parameter(domain=case.domain, when=when))
        if kept:
            found[key] = _together(kept, split=bool(parameter.cases))
    return _possible(found)


def _together(cases: Sequence[Parameter], *, split: bool) -> Parameter:
    """A parameter of these cases; the one that always applies, if one does: of cases at most one applies."""
    always = next((case for case in cases if not case.when), None)
    if not split or always is not None:
        return always or cases[0]
    return Parameter(domain=hull([case.domain for case in cases]), cases=tuple(cases))


def _possible(space: Space) -> dict[str, Parameter]:
    """Leave out what waits for a value that its parent cannot have any more, and so on."""
    found = dict(space)
    while True:
        before = dict(found)
        for key, parameter in before.items():
            cases = [_still(case, found) for case in parameter.cases or (parameter,)]
            kept = [case for case in cases if case is not None]
            if not kept:
                del found[key]
            elif kept != list(parameter.cases or (parameter,)):
                found[key] = _together(kept, split=bool(parameter.cases))
        if found == before:
            return found


def _still(case: Parameter, space: Space) -> Parameter | None:
    """A case with the values that its condition can still meet; None if there are none."""
    when = {}
    for parent, value in case.when.items():
        if parent not in space:
            return None
        domains = [each.domain for each in space[parent].cases or (space[parent],)]
        if any(domain.contains(value) for domain in domains):
            when[parent] = value
            continue
        left = [one for one in wanted(value) if any(domain.contains(one) for domain in domains)]
        if not left:
            return None
        when[parent] = left
    return case if when == case.when else Parameter(domain=case.domain, when=when)
