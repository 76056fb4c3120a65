"""Advice on the edges of the search space: where good trials crowd, the optimum may lie beyond.

Judged by the mass of the top k, not by the single best, and on the parameter's own scale: a log range
in its logarithm, whole numbers and ordered choices by their places.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schedulers.space import Categorical, Domain, Float, Int
from service.report.subject import Subject
from service.report.words import setting
from service.study.command_line import launch_command

NEAR = 0.05  # of the range, on its scale; the training template's
MASS, CHANCE = 0.3, 0.02  # of the top k, and how likely so many would be there by chance
K = 10
DECADES = 1.0


@dataclass(frozen=True, slots=True)
class Edge:
    """One bound at which the good trials crowd, or at which the best lies.

    Attributes:
        key: the parameter.
        side: lower or upper.
        bound: the value at that edge.
        best: the best trial's value.
        best_there: whether it is within 5% of the edge.
        near: of the top k, how many are.
        of: k.
        crowded: whether that is more than chance; only then widening is advised.
        widen: the `--set` that widens it, "" where nothing lies beyond.
        sentence: all this, for a person.
    """

    key: str
    side: str
    bound: Any
    best: Any
    best_there: bool
    near: int
    of: int
    crowded: bool
    widen: str
    sentence: str


def edges(subject: Subject, k: int = K) -> tuple[Edge, ...]:
    """The edges worth a word, those that are crowded first."""
    ranked = subject.ranked()[: max(k, 1)]
    found: list[Edge] = []
    for key, parameter in subject.parameters.items():
        domain = _in_order(parameter.domain)
        values = [subject.config(trial)[key] for trial in ranked if key in subject.config(trial)]
        if domain is None or not values:
            continue
        for upper in (False, True):
            edge = _edge(key, domain, values, upper, bool(parameter.cases))
            if edge is not None:
                found.append(edge)
    return tuple(sorted(found, key=lambda edge: not edge.crowded))


def extend_line(subject: Subject, found: Sequence[Edge]) -> str:
    """The one command that widens all crowded edges of a study; "" where there is none."""
    sets = " ".join(f"--set {edge.widen}" for edge in found if edge.crowded and edge.widen)
    if not sets:
        return ""
    if subject.folder is None:
        return f"{subject.rerun} --name {subject.name}-2 {sets}"
    more = f"+{max(len(subject.trials) // 2, 5)}"
    return f"{launch_command('extend', subject.folder, '--trials', more)} {sets}"


def _in_order(domain: Domain) -> Domain | None:
    """A domain that has edges: ranges, and choices that are numbers or declared ordered."""
    if not isinstance(domain, Categorical):
        return domain if domain.low < domain.high else None
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in domain.choices)
    if len(domain.choices) < 3 or not (numbers or domain.ordered):
        return None
    return Categorical(tuple(sorted(domain.choices)), ordered=True) if numbers else domain


def _edge(key: str, domain: Domain, values: Sequence[Any], upper: bool, cases: bool) -> Edge | None:
    there = [is_near(domain, value, upper) for value in values]
    near, k = sum(there), len(values)
    width = chance_of(domain)
    crowded = near >= max(2, MASS * k) and _tail(near, k, width) < CHANCE
    if not (crowded or there[0]):
        return None
    bound = _bound(domain, upper)
    beyond = None if cases else further(domain, upper)
    side = "upper" if upper else "lower"
    widen = _set(key, domain, upper, beyond) if beyond is not None else ""
    sentence = f"{near} of the top {k} lie at the {side.upper()} boundary ({setting(bound)})"
    if there[0]:
        sentence += f", the best ({setting(values[0])}) among them"
    if not crowded:
        sentence += f"; by chance {width * k:.1g} would: so few are no reason to widen it yet"
    elif widen:
        sentence += f"; widen it to {setting(beyond)}"
    else:
        sentence += "; " + ("widen the case it lies in" if cases else "nothing sensible lies beyond")
    return Edge(key, side, bound, values[0], there[0], near, k, crowded, widen, sentence)


def is_near(domain: Domain, value: Any, upper: bool) -> bool:
    """Whether a value lies within 5% of an edge; of few whole numbers or choices, on the last.

    >>> domain = Float(1e-7, 1e-3, log=True)
    >>> is_near(domain, 1.5e-7, False), is_near(domain, 3e-7, False), is_near(Int(3, 6), 6, True)
    (True, False, True)
    """
    unit = domain.to_unit(value)
    return unit >= 1 - NEAR if upper else unit <= NEAR


def chance_of(domain: Domain) -> float:
    """The share of an even draw that falls near one edge."""
    if isinstance(domain, Categorical):
        return 1 / len(domain.choices)
    if isinstance(domain, Int) and not domain.log:
        cells = (domain.high - domain.low) // domain.step + 1
        return (math.floor(NEAR * (cells - 1)) + 1) / cells
    return NEAR if isinstance(domain, Float) else max(NEAR, 1 / (domain.high - domain.low + 1))


def further(domain: Domain, upper: bool) -> Any:
    """A wider bound; None where nothing lies beyond (a range that begins at nought, or a count at one).

    >>> further(Float(1e-7, 1e-3, log=True), False), further(Int(3, 6), True), further(Float(0.0, 0.5), False)
    (1e-08, 8, None)
    >>> further(Categorical((32, 64, 128), ordered=True), True)
    256
    """
    if isinstance(domain, Categorical):
        return _next_choice(domain.choices, upper)
    low, high = domain.low, domain.high
    if domain.log:
        factor = 10.0**DECADES if isinstance(domain, Float) else 2.0
        moved = high * factor if upper else low / factor
        if isinstance(domain, Float):
            return _round(moved)
        whole = max(round(moved), 1)
        return whole if whole != (high if upper else low) else None
    reach = (high - low) / 2
    if isinstance(domain, Int):
        step = max(math.ceil(reach / domain.step), 1) * domain.step
        moved_int = (
            high + step if upper else max(low - step, 1 if low >= 1 else 0 if low >= 0 else low - step)
        )
        return moved_int if moved_int != (high if upper else low) else None
    moved = _round(high + reach if upper else low - reach)
    if not upper and low >= 0:
        return None if low == 0 else max(moved, 0.0)
    return moved


def _next_choice(choices: Sequence[Any], upper: bool) -> Any:
    """The next number of a row that grows by a constant factor or step; None of any other row."""
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in choices):
        return None
    row = list(choices) if upper else list(reversed(choices))
    steps = {round(b - a, 12) for a, b in itertools.pairwise(row)}
    whole = all(isinstance(one, int) for one in row)
    moved = None
    if len(steps) == 1:
        moved = row[-1] + steps.pop()
    elif 0 not in row and len({round(b / a, 9) for a, b in itertools.pairwise(row)}) == 1:
        moved = row[-1] * (row[-1] / row[-2])
    if moved is None or (moved <= 0 < row[-1]) or (whole and moved != int(moved)):
        return None
    return int(moved) if whole else _round(moved)


def _set(key: str, domain: Domain, upper: bool, beyond: Any) -> str:
    if isinstance(domain, Categorical):
        choices = [*domain.choices, beyond] if upper else [beyond, *domain.choices]
        return f"'search_space.{key}.choices={choices}'"
    return f"search_space.{key}.{'max' if upper else 'min'}={beyond!r}"


def _bound(domain: Domain, upper: bool) -> Any:
    if isinstance(domain, Categorical):
        return domain.choices[-1 if upper else 0]
    return domain.high if upper else domain.low


def _round(value: float) -> float:
    return float(f"{value:.2g}")


def _tail(hits: int, draws: int, chance: float) -> float:
    """How likely so many hits or more are by chance (binomial)."""
    return sum(math.comb(draws, n) * chance**n * (1 - chance) ** (draws - n) for n in range(hits, draws + 1))
