"""Whether two independent searches agree on where the optimum is: 003, red flag 7 (a good sign).

Configurations are compared in unit space: each parameter that both searched, on its own scale, over the range
that holds both of theirs. A distance is the root mean square over parameters; different choices are 1 apart.
It is judged by the share of pairs of uniform draws from the space that are as close.
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
from raysweep.report.trajectory import Floats
from schedulers.space import Categorical, Domain, Float, Int

PAIRS, SEED = 4000, 0
NEAR = 0.15  # a distance in unit space below which two configurations count as the same
CHANCE = 0.05


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two searches have in common.

    Attributes:
        one, other: names.
        parameters: that both searched and that can be compared.
        distance: between the winners; NaN without a common parameter.
        by_chance: share of pairs of uniform draws that are as close.
        nearest: the other's trial nearest to the first's winner, its distance, and its rank there; None
            without a common parameter.
        overlap: how many of the first's top k have one of the other's top k nearby.
        expected: how many would by chance.
        k: how many of the best are compared.
        shared: sampled configurations that are the same in both to the last digit.
        agree: whether the winners are closer than by chance.
        sentence: all this in words.
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
    """Compare two searches' best configurations.

    Args:
        name: of the first.
        other_name: of the second.
        one: a study with a ranked trial.
        other: another one.
        top_k: how many of the best are compared.
    """
    domains = common(one.domains, other.domains)
    ranks = one.ranked(), other.ranked()
    k = min(top_k, *map(len, ranks))
    shared = _shared(one, other)
    if not domains:
        sentence = "they searched no parameter in common"
        return Agreement(name, other_name, (), math.nan, math.nan, None, 0, 0.0, k, shared, False, sentence)
    units = [in_unit(domains, [subject.config(trial) for trial in ranked])
             for subject, ranked in zip((one, other), ranks, strict=True)]  # fmt: skip
    kinds = np.array([isinstance(domain, Categorical) and not domain.ordered for domain in domains.values()])
    apart = distances(units[0], units[1], kinds)
    by_chance, expected = _chance(domains, kinds, float(apart[0, 0]), k)
    nearest = int(np.argmin(apart[0]))
    result = Agreement(
        one=name,
        other=other_name,
        parameters=tuple(domains),
        distance=float(apart[0, 0]),
        by_chance=by_chance,
        nearest=(ranks[1][nearest].number, float(apart[0, nearest]), nearest + 1),
        overlap=int((apart[:k, :k].min(axis=1) <= NEAR).sum()),
        expected=expected,
        k=k,
        shared=shared,
        agree=by_chance <= CHANCE and not shared,
        sentence="",
    )
    return replace(result, sentence=_in_words(result, len(ranks[1])))


def common(one: Mapping[str, Domain], other: Mapping[str, Domain]) -> dict[str, Domain]:
    """The parameters that both searched, each over the range that holds both."""
    shared: dict[str, Domain] = {}
    for key in one:
        a, b = one[key], other.get(key)
        if isinstance(a, Categorical) and isinstance(b, Categorical):
            choices = [*a.choices, *(choice for choice in b.choices if not a.contains(choice))]
            if len(choices) > 1:
                shared[key] = Categorical(tuple(choices), ordered=a.choices == b.choices and a.ordered)
        elif isinstance(a, Float | Int) and isinstance(b, Float | Int) and a.log == b.log:
            low, high = min(a.low, b.low), max(a.high, b.high)
            if low < high:
                shared[key] = Float(float(low), float(high), log=a.log)
    return shared


def in_unit(domains: Mapping[str, Domain], configs: Sequence[Mapping[str, Any]]) -> Floats:
    """Configurations as points of unit space, (configs, parameters); NaN for an inactive parameter."""
    rows = [[_to_unit(domain, config, key) for key, domain in domains.items()] for config in configs]
    return np.array(rows, dtype=float)


def distances(one: Floats, other: Floats, choices: NDArray[np.bool_]) -> Floats:
    """Root mean square distances of all pairs, (one, other); a parameter that only one has is 1 apart."""
    gap = np.abs(one[:, None, :] - other[None, :, :])
    gap = np.where(choices, gap > 0, gap)
    absent = np.isnan(one)[:, None, :].astype(int) + np.isnan(other)[None, :, :]
    gap = np.where(absent == 1, 1.0, np.where(absent == 2, 0.0, gap))
    root: Floats = np.sqrt((gap**2).mean(axis=2))
    return root


def _to_unit(domain: Domain, config: Mapping[str, Any], key: str) -> float:
    if key not in config or (isinstance(domain, Categorical) and not domain.contains(config[key])):
        return math.nan
    return domain.to_unit(config[key])


def _chance(
    domains: Mapping[str, Domain], kinds: NDArray[np.bool_], distance: float, k: int
) -> tuple[float, float]:
    """The share of uniform draws as close as this, and the overlap of two sets of k of them."""
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


def _in_words(result: Agreement, of: int) -> str:
    """The agreement in a sentence; `of` is the number of ranked trials of the other."""
    if result.shared:
        return (
            f"they share {result.shared} sampled configurations, so they are not independent and agreement "
            "would mean nothing"
        )
    near = f"{result.distance:.2f} apart in unit space, {result.by_chance:.0%} of random pairs are as close"
    if result.agree:
        sentence = f"they agree on the winner ({near})"
    else:
        sentence = f"the winners are {near}: no sign that they agree"
    overlap, k, expected = result.overlap, result.k, result.expected
    sentence += f"; {overlap} of the top {k} lie near one of the other's ({expected:.1g} by chance)"
    if result.nearest is not None:
        number, gap, rank = result.nearest
        sentence += f"; nearest to {result.one}'s winner is trial {number} of {result.other} ({gap:.2f}), "
        sentence += f"rank {rank} of {of} there"
    return sentence
