"""Whether two independent searches agree on where the optimum is: 003, red flag 7 (a good sign).

Configurations are held against each other in unit space: each parameter that both searched, on its own
scale, over the range that holds both of theirs. A distance is the root mean square over parameters;
different choices are 1 apart. How near is near is said by draws from the space: two even draws are as
close as the winners in so many of a hundred cases.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysweep.report.subject import Subject
from schedulers.space import Categorical, Domain, Float, Int

PAIRS, SEED = 4000, 0
NEAR = 0.15  # a distance in unit space at which two configurations are one for most purposes
CHANCE = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two searches have in common.

    Attributes:
        one, other: names.
        parameters: that both searched, and that could be held against each other.
        distance: between the winners; NaN without a common parameter.
        by_chance: share of pairs of even draws that are as close.
        nearest: trial of the other nearest to the first's winner, its distance, and its rank there; None
            where there is none.
        overlap: of the first's top k, how many have one of the other's top k near.
        expected: how many would by chance.
        k: of the top.
        shared: configurations, sampled in both, that are the same to the last digit.
        agree: whether the winners are closer than chance has it.
        sentence: all this, for a person.
    """

    one: str
    other: str
    parameters: tuple[str, ...]
    distance: float
    by_chance: float
    nearest: tuple[int, float, int] | None
    overlap: int
    expected: float
    k: int
    shared: int
    agree: bool
    sentence: str


def agreement(name: str, other_name: str, one: Subject, other: Subject, top_k: int = 5) -> Agreement:
    """Hold two searches' best configurations against each other.

    Args:
        name: of the first.
        other_name: of the second.
        one: a study with a ranked trial.
        other: another.
        top_k: how many of the best overlap.
    """
    domains = common(one.domains, other.domains)
    ranks = one.ranked(), other.ranked()
    k = min(top_k, *map(len, ranks))
    shared = _shared(one, other)
    if not domains:
        words = "they searched no parameter in common"
        return Agreement(name, other_name, (), math.nan, math.nan, None, 0, 0.0, k, shared, False, words)
    units = [in_unit(domains, [subject.config(trial) for trial in ranked])
             for subject, ranked in zip((one, other), ranks, strict=True)]  # fmt: skip
    kinds = np.array([isinstance(domain, Categorical) and not domain.ordered for domain in domains.values()])
    apart = distances(units[0], units[1], kinds)
    by_chance, expected = _chance(domains, kinds, float(apart[0, 0]), k)
    place = int(np.argmin(apart[0]))
    found = Agreement(
        one=name,
        other=other_name,
        parameters=tuple(domains),
        distance=float(apart[0, 0]),
        by_chance=by_chance,
        nearest=(ranks[1][place].number, float(apart[0, place]), place + 1),
        overlap=int((apart[:k, :k].min(axis=1) <= NEAR).sum()),
        expected=expected,
        k=k,
        shared=shared,
        agree=by_chance <= CHANCE and not shared,
        sentence="",
    )
    return replace(found, sentence=_in_words(found, len(ranks[1])))


def common(one: Mapping[str, Domain], other: Mapping[str, Domain]) -> dict[str, Domain]:
    """What both searched, each over the range that holds both."""
    found: dict[str, Domain] = {}
    for key in one:
        a, b = one[key], other.get(key)
        if isinstance(a, Categorical) and isinstance(b, Categorical):
            choices = [*a.choices, *(choice for choice in b.choices if not a.contains(choice))]
            if len(choices) > 1:
                found[key] = Categorical(tuple(choices), ordered=a.choices == b.choices and a.ordered)
        elif isinstance(a, Float | Int) and isinstance(b, Float | Int) and a.log == b.log:
            low, high = min(a.low, b.low), max(a.high, b.high)
            if low < high:
                found[key] = Float(float(low), float(high), log=a.log)
    return found


def in_unit(domains: Mapping[str, Domain], configs: Sequence[Mapping[str, Any]]) -> Floats:
    """Configurations as points of unit space; (configs, parameters); NaN where one is not active."""
    rows = [[_place(domain, config, key) for key, domain in domains.items()] for config in configs]
    return np.array(rows, dtype=float)


def distances(one: Floats, other: Floats, choices: NDArray[np.bool_]) -> Floats:
    """Root mean square distances of all pairs, (one, other); what only one of them has is 1 apart."""
    gap = np.abs(one[:, None, :] - other[None, :, :])
    gap = np.where(choices, gap > 0, gap)
    absent = np.isnan(one)[:, None, :].astype(int) + np.isnan(other)[None, :, :]
    gap = np.where(absent == 1, 1.0, np.where(absent == 2, 0.0, gap))
    root: Floats = np.sqrt((gap**2).mean(axis=2))
    return root


def _place(domain: Domain, config: Mapping[str, Any], key: str) -> float:
    if key not in config or (isinstance(domain, Categorical) and not domain.contains(config[key])):
        return math.nan
    return domain.to_unit(config[key])


def _chance(
    domains: Mapping[str, Domain], kinds: NDArray[np.bool_], distance: float, k: int
) -> tuple[float, float]:
    """The share of even draws as close as this, and the overlap of two sets of k of them."""
    rng = np.random.default_rng(SEED)

    def draw() -> Floats:
        columns = [
            rng.integers(len(domain.choices), size=PAIRS) / (len(domain.choices) - 1)
            if isinstance(domain, Categorical)
            else rng.random(PAIRS)
            for domain in domains.values()
        ]
        return np.array(columns).T

    one, other = draw(), draw()
    gap = np.where(kinds, one != other, np.abs(one - other))
    apart = np.sqrt((gap**2).mean(axis=1))
    near = float((apart <= NEAR).mean())
    return float((apart <= distance + 1e-12).mean()), k * (1 - (1 - near) ** k)


def _shared(one: Subject, other: Subject) -> int:
    def sampled(subject: Subject) -> set[str]:
        return {
            json.dumps(subject.config(trial), sort_keys=True, default=str)
            for trial in subject.trials
            if trial.source == "sampler" and any(isinstance(value, float) for value in trial.config.values())
        }

    return len(sampled(one) & sampled(other))


def _in_words(found: Agreement, of: int) -> str:
    """What an agreement comes to; `of` trials count in the other."""
    if found.shared:
        return (
            f"they share {found.shared} sampled configurations: they are not independent, so that their "
            "agreeing would say nothing"
        )
    near = f"{found.distance:.2f} apart in unit space, {found.by_chance:.0%} of even draws are as close"
    if found.agree:
        words = f"they agree on the winner ({near})"
    else:
        words = f"the winners are {near}: no sign that they agree"
    words += (
        f"; {found.overlap} of the top {found.k} lie near one of the other's ({found.expected:.1g} by chance)"
    )
    if found.nearest is not None:
        number, gap, rank = found.nearest
        words += f"; nearest to {found.one}'s winner is trial {number} of {found.other} ({gap:.2f}), "
        words += f"rank {rank} of {of} there"
    return words
