"""Narrowing of a search space: around the best trials, and by fixing parameters.

The result lies within the declared space and contains the trials that it is narrowed around. Spreads are
taken in the unit interval, so that a log range is narrowed by orders of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysweep.config.parameter import Parameter, holds, hull, wanted
from schedulers.space import Categorical, Domain, Float, Int

LEAST_SPREAD = 0.2
"""Least share of a range that the best trials count as covering: they may be closer by chance."""

Space = Mapping[str, Parameter]
Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NarrowedSpace:
    """The change of one parameter, or of one of its cases.

    Attributes:
        key: flat.
        before: domain as declared.
        after: domain that is searched now.
        values: that it was narrowed around; empty if it was not.
        when: the case's condition; empty without cases.
    """

    key: str
    before: Domain
    after: Domain
    values: tuple[Any, ...]
    when: Mapping[str, Any]


def narrowings(space: Space, around: Mapping[str, Sequence[Config]], margin: float) -> list[NarrowedSpace]:
    """The change of each parameter, with one entry for each of its cases.

    Args:
        space: declared parameters that are searched now.
        around: by parameter, the configurations to narrow it around.
        margin: share of their spread by which a range is widened on either side.
    """
    changes = []
    for key, parameter in space.items():
        for case in parameter.cases or (parameter,):
            when = case.when if parameter.cases else {}
            values = tuple(
                config[key]
                for config in around.get(key, ())
                if key in config and case.domain.contains(config[key]) and holds(case.when, config)
            )
            after = narrow(case.domain, values, margin) if values else case.domain
            changes.append(NarrowedSpace(key, case.domain, after, values, when))
    return changes


def active(space: Space, config: Config) -> dict[str, Any]:
    """The values of a configuration whose parameters are searched and whose conditions hold in it."""
    values: dict[str, Any] = {}
    while True:
        more = {
            key: config[key]
            for key, parameter in space.items()
            if key in config and any(holds(case.when, values) for case in parameter.cases or (parameter,))
        }
        if more.keys() == values.keys():
            return more
        values = more


def narrow(domain: Domain, values: Sequence[Any], margin: float) -> Domain:
    """The part of a domain around some of its values.

    The new ends of a range are the outermost values, moved outward by `margin` times their spread, which
    counts as at least LEAST_SPREAD of the range. Choices are reduced to the values; ordered ones also keep
    what lies between, and with a margin the neighbours.

    >>> narrow(Float(1e-4, 1.0, log=True), [1e-2, 1e-3], margin=0.5)
    Float(low=0.000316227..., high=0.0316227..., log=True, step=None)
    >>> narrow(Categorical(("relu", "tanh", "gelu")), ["gelu", "relu"], margin=0.5)
    Categorical(choices=('relu', 'gelu'), ordered=False)
    """
    if isinstance(domain, Categorical):
        return _narrow_choices(domain, values, margin)
    units = [domain.to_unit(value) for value in values]
    pad = margin * max(max(units) - min(units), LEAST_SPREAD)
    low, high = min(values), max(values)
    if pad > 0:  # otherwise avoid the rounding of the unit interval
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
    """The value at a position of the unit interval, without steps; beyond 0 and 1, the ends."""
    return Float(domain.low, domain.high, domain.log).from_unit(unit)


def _narrow_choices(domain: Categorical, values: Sequence[Any], margin: float) -> Categorical:
    kept = [
        index
        for index, choice in enumerate(domain.choices)
        if any(Categorical((choice,)).contains(value) for value in values)
    ]
    if domain.ordered:
        beside = 1 if margin else 0
        kept = list(range(max(min(kept) - beside, 0), min(max(kept) + beside + 1, len(domain.choices))))
    return Categorical(tuple(domain.choices[index] for index in kept), domain.ordered)


def with_domains(space: Space, changes: Iterable[NarrowedSpace]) -> dict[str, Parameter]:
    """The space with the changed domains."""
    after: dict[str, list[Domain]] = {}
    for change in changes:
        after.setdefault(change.key, []).append(change.after)
    changed = {}
    for key, parameter in space.items():
        cases = parameter.cases or (parameter,)
        new = [
            Parameter(domain=domain, when=case.when)
            for case, domain in zip(cases, after.get(key, [case.domain for case in cases]), strict=True)
        ]
        changed[key] = _combine_cases(new, split=bool(parameter.cases))
    return changed


def with_fixed(space: Space, keys: Iterable[str], fixed: Config) -> dict[str, Parameter]:
    """The part of a space that is searched if all parameters but `keys` are fixed.

    A condition on a fixed parameter holds always or never.

    Args:
        space: as declared.
        keys: of the searched parameters.
        fixed: values of the others; a parameter without a value is inactive.
    """
    searched = [key for key in space if key in set(keys)]
    restricted = {}
    for key in searched:
        parameter = space[key]
        kept = []
        for case in parameter.cases or (parameter,):
            if holds({each: case.when[each] for each in case.when if each not in searched}, fixed):
                when = {each: value for each, value in case.when.items() if each in searched}
                kept.append(Parameter(domain=case.domain, when=when))
        if kept:
            restricted[key] = _combine_cases(kept, split=bool(parameter.cases))
    return _drop_impossible(restricted)


def _combine_cases(cases: Sequence[Parameter], *, split: bool) -> Parameter:
    """A parameter of cases of which at most one applies; of the unconditional one alone if there is one."""
    always = next((case for case in cases if not case.when), None)
    if not split or always is not None:
        return always or cases[0]
    return Parameter(domain=hull([case.domain for case in cases]), cases=tuple(cases))


def _drop_impossible(space: Space) -> dict[str, Parameter]:
    """Drop cases and parameters whose conditions can no longer hold, until none is left."""
    possible = dict(space)
    while True:
        before = dict(possible)
        for key, parameter in before.items():
            cases = [_restrict_condition(case, possible) for case in parameter.cases or (parameter,)]
            kept = [case for case in cases if case is not None]
            if not kept:
                del possible[key]
            elif kept != list(parameter.cases or (parameter,)):
                possible[key] = _combine_cases(kept, split=bool(parameter.cases))
        if possible == before:
            return possible


def _restrict_condition(case: Parameter, space: Space) -> Parameter | None:
    """A case whose condition names only values that its parents can have; None if there are none."""
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
