"""Advice on the edges of the search space: where good trials crowd, the optimum may lie beyond.

Judged by the top k, not by the single best, and on the parameter's own scale: a log range by its logarithm,
whole numbers and ordered choices by their index. An adaptive sampler crowds where the first good trials
happened to lie, even on pure noise, so an edge counts only if trials near it did better than those that the
same sampler proposed elsewhere at the same time (`edge_p_value`).
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from raysweep.config.natural_limits import natural_limits
from raysweep.config.parameter import is_number
from raysweep.launch_command import Command, assignment, launch_command
from raysweep.report.formatting import setting
from raysweep.report.subject import Subject
from schedulers.space import Categorical, Domain, Float, Int

NEAR = 0.05  # of the range, on its scale; the training template's
MASS = 0.3  # of the top k
LEVEL = 0.05  # of a false alarm, over all edges of a report
K = 10
DECADES = 1.0


@dataclass(frozen=True, slots=True)
class Edge:
    """One bound at which good trials crowd, or the best trial lies.

    Attributes:
        key: the parameter.
        side: lower or upper.
        bound: the value at that edge.
        best: the best trial's value.
        best_there: whether that is within 5% of the edge.
        near: how many of the top k are.
        of: k.
        crowded: whether that is more than the sampler and chance explain; only then widening is advised.
        widen: the `--set` assignment that widens it; "" if nothing lies beyond.
        sentence: all this in words.
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
    """The edges at which good trials crowd or the best lies; crowded ones first."""
    ranked = subject.ranked()
    ordered = {key: domain for key in subject.parameters if (domain := _in_order(subject.domains[key]))}
    notable: list[Edge] = []
    for key, domain in ordered.items():
        having = [trial for trial in ranked if key in subject.config(trial)]
        values = [subject.config(trial)[key] for trial in having]
        order = sorted(range(len(having)), key=lambda rank: having[rank].number)
        for upper in (False, True):
            near = [is_near(domain, value, upper) for value in values]
            # `having` is ranked, so a trial's index in it can replace its loss.
            p_value = edge_p_value([near[rank] for rank in order], order)
            is_significant = p_value < LEVEL / (2 * len(ordered))
            cases = bool(subject.parameters[key].cases)
            if edge := _edge(key, domain, values[: max(k, 1)], upper, cases, is_significant):
                notable.append(edge)
    return tuple(sorted(notable, key=lambda edge: not edge.crowded))


def edge_p_value(near: Sequence[bool], losses: Sequence[float]) -> float:
    """The probability that trials near an edge do so well if the edge does not matter, for any sampler.

    Under that hypothesis a trial's rank among those before it is uniform and independent of the past and
    of where it lies (losses of equal distribution), so the sum over trials of
    (near - share near so far) * (1 - 2 (rank - 1/2) / trials so far) is a martingale, also if the
    sampler learns from the losses. Its normal approximation gives the p-value.

    Args:
        near: whether each trial lies near the edge, in the order in which they were proposed.
        losses: of the trials; lower is better, only the order counts.

    >>> edge_p_value([True, False] * 10, [0, 1] * 10) < 0.01 < edge_p_value([True, False] * 10, [1, 0] * 10)
    True
    """
    total = variance = 0.0
    count, earlier = 0, list[float]()
    for asked, (is_there, loss) in enumerate(zip(near, losses, strict=True), start=1):
        count += is_there
        insort(earlier, loss)
        contrast = is_there - count / asked
        middle_rank = (bisect_left(earlier, loss) + bisect_right(earlier, loss)) / 2  # ties share theirs
        total += contrast * (1 - 2 * middle_rank / asked)
        variance += contrast**2 * (1 - 1 / asked**2) / 3
    return NormalDist().cdf(-total / math.sqrt(variance)) if variance else 1.0


def widening(subject: Subject, edges: Sequence[Edge]) -> Command | None:
    """The command that widens all crowded edges of a study; None if there are none."""
    sets = [edge.widen for edge in edges if edge.crowded and edge.widen]
    if not sets:
        return None
    if subject.folder is None or not subject.can_extend(trials=True):
        return subject.again(sets)
    more = f"+{max(len(subject.trials) // 2, 5)}"
    return launch_command("extend", subject.folder, "--trials", more).with_settings(sets)


def _in_order(domain: Domain) -> Domain | None:
    """The domain in order if it has edges (a range, or choices that are numbers or ordered), else None."""
    if not isinstance(domain, Categorical):
        return domain if domain.low < domain.high else None
    numbers = all(is_number(one) for one in domain.choices)
    if len(domain.choices) < 3 or not (numbers or domain.ordered):
        return None
    return Categorical(tuple(sorted(domain.choices)), ordered=True) if numbers else domain


def _edge(
    key: str, domain: Domain, values: Sequence[Any], upper: bool, cases: bool, is_significant: bool
) -> Edge | None:
    """One bound by the values of the top k; None if they neither crowd there nor include the best."""
    there = [is_near(domain, value, upper) for value in values]
    near, k = sum(there), len(values)
    many = near >= max(2, MASS * k)
    crowded = is_significant and many
    if not (crowded or any(there[:1])):
        return None
    bound = _bound(domain, upper)
    beyond = None if cases else further(domain, upper, natural_limits(key))
    side = "upper" if upper else "lower"
    widen = widen_assignment(key, domain, upper, beyond) if beyond is not None else ""
    lie = "lies" if near == 1 else "lie"
    sentence = f"{near} of the top {k} {lie} at the {side.upper()} boundary ({setting(bound)})"
    if there[0]:
        sentence += f", the best ({setting(values[0])}) among them"
    if not many:
        sentence += "; too few to say that the range is too narrow"
    elif not crowded:
        sentence += "; the sampler's own choices explain that, so there is no reason to widen it yet"
    elif widen:
        sentence += f"; widen it to {setting(beyond)}"
    else:
        sentence += "; " + ("widen the case it belongs to" if cases else "no sensible value lies beyond")
    return Edge(key, side, bound, values[0], there[0], near, k, crowded, widen, sentence)


def is_near(domain: Domain, value: Any, upper: bool) -> bool:
    """Whether a value lies within 5% of an edge; for few whole numbers or choices, at the last one.

    >>> domain = Float(1e-7, 1e-3, log=True)
    >>> is_near(domain, 1.5e-7, False), is_near(domain, 3e-7, False), is_near(Int(3, 6), 6, True)
    (True, False, True)
    """
    unit = domain.to_unit(value)
    return unit >= 1 - NEAR if upper else unit <= NEAR


def further(
    domain: Domain, upper: bool, limits: tuple[float, float, bool] = (-math.inf, math.inf, True)
) -> Any:
    """A wider bound; None if nothing lies beyond (a range that begins at 0, or a count at 1).

    Args:
        domain: the range or choices.
        upper: which bound.
        limits: see `natural_limits`; towards a finite upper one, half of the remaining distance.

    >>> further(Float(1e-7, 1e-3, log=True), False), further(Int(3, 6), True), further(Float(0.0, 0.5), False)
    (1e-08, 8, None)
    >>> further(Categorical((32, 64, 128), ordered=True), True)
    256
    """
    beyond = _further(domain, upper)
    if beyond is None or isinstance(domain, Categorical):
        return beyond if beyond is None or limits[0] <= beyond < limits[1] else None
    if upper and beyond >= limits[1]:
        middle = float(f"{(domain.high + limits[1]) / 2:.4g}")
        return middle if isinstance(domain, Float) and domain.high < middle < limits[1] else None
    return max(beyond, limits[0]) if limits[0] < domain.low or upper else None


def _further(domain: Domain, upper: bool) -> Any:
    """As `further`, without limits."""
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
    """The next number of a sequence with a constant factor or step; None for any other."""
    if not all(is_number(one) for one in choices):
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


def widen_assignment(key: str, domain: Domain, upper: bool, beyond: Any) -> str:
    """The `--set` assignment that moves a bound, or adds a choice.

    >>> widen_assignment("net_config.layers", Int(1, 6), True, 8)
    'search_space.net_config.layers.max=8'
    """
    if isinstance(domain, Categorical):
        choices = [*domain.choices, beyond] if upper else [beyond, *domain.choices]
        return assignment(f"search_space.{key}.choices", choices)
    return assignment(f"search_space.{key}.{'max' if upper else 'min'}", beyond)


def _bound(domain: Domain, upper: bool) -> Any:
    if isinstance(domain, Categorical):
        return domain.choices[-1 if upper else 0]
    return domain.high if upper else domain.low


def _round(value: float) -> float:
    return float(f"{value:.2g}")
