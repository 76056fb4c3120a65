"""Advice on single ranges: their scale, location and width."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from raysweep.advice.rule import (
    AdviceRule,
    Suggestion,
    at,
    class_name,
    decades,
    ends,
    is_grid,
    kind_of,
    leaf,
    log_range,
    ranged,
    single,
)
from raysweep.config import Sweep
from raysweep.config.parameter import is_number
from raysweep.config.problem import shown
from raysweep.config.stage import LR
from schedulers.space import Categorical

LOG_PARAMETERS = ("lr", "learning_rate", "weight_decay")
"""Parameters that act by their order of magnitude, whatever their range."""

MOST_DECADES = 2.0
NARROW_FACTOR = 3.0
"""Every range that document 003 calls too narrow spans at most this factor: 0.001 to 0.003, 0.005 to 0.01."""

MOST_DROPOUT = 0.9


@dataclass(frozen=True, slots=True)
class Region:
    """An optimizer's useful learning rates.

    Attributes:
        low: smallest.
        high: largest.
        source: where they come from.
    """

    low: float
    high: float
    source: str


_ADAM = Region(1e-4, 1e-2, "document 003, Adam Parameters")
USEFUL_LR = {
    "SPlus": Region(1e-2, 1.0, "document 000, SPlus: wide lr range is correct"),
    "Adam": _ADAM,
    "AdamW": _ADAM,
    "NAdam": _ADAM,
    "RAdam": _ADAM,
    "SGD": Region(1e-2, 1.0, "document 003, Default LR Ranges by Optimizer; to 1: arXiv:1708.07120"),
    "RMSprop": Region(1e-4, 1e-2, "document 003, Default LR Ranges by Optimizer"),
    "Lion": Region(1e-5, 1e-3, "arXiv:2302.06675, section 5: 3 to 10 times smaller than AdamW's"),
}
"""By the optimizer's class name; there is no advice on other optimizers."""


def log_scale(sweep: Sweep) -> Iterator[Suggestion]:
    """A learning rate, a weight decay, or any range of more than two decades has `log: true`."""
    if is_grid(sweep):
        return  # nothing is drawn
    for flat, domain in single(sweep).items():
        if isinstance(domain, Categorical) or domain.log or domain.low < 0 or domain.high <= domain.low:
            continue
        wide = domain.low > 0 and decades(domain.low, domain.high) > MOST_DECADES + 1e-9
        if not wide and leaf(flat) not in LOG_PARAMETERS:
            continue
        low = domain.low or domain.high / 1e4
        plain = domain.low > 0 and domain.step in (None, 1)
        replaced = log_range(flat, low, domain.high, kind_of(domain) if domain.low else "float")
        why = f"{ranged(domain)}, drawn uniformly, although it acts by its order of magnitude"
        yield Suggestion(at(flat), why, sets=(f"search_space.{flat}.log=true" if plain else replaced,))


def lr_region(sweep: Sweep) -> Iterator[Suggestion]:
    """The searched learning rates are those at which the optimizer works."""
    region = USEFUL_LR.get(class_name(sweep.run.optimizer))
    domain = single(sweep).get(LR)
    span = ends(domain)
    if region is None or domain is None or span is None or span[0] <= 0 or "optimizer" in sweep.space:
        return
    low, high = span
    shared = decades(max(low, region.low), max(min(high, region.high), max(low, region.low)))
    inside = region.low <= low and high <= region.high
    # Half of the largest possible overlap: a range shifted by a decade still contains useful rates.
    if inside or shared >= min(decades(low, high), decades(region.low, region.high)) / 2:
        return
    useful = f"{shown(region.low)} to {shown(region.high)}"
    name = class_name(sweep.run.optimizer)
    why = f"{ranged(domain)} misses most of the rates at which {name} works: {useful}"
    yield Suggestion(at(LR), why, sets=(log_range(LR, region.low, region.high),))


def narrow_lr(sweep: Sweep) -> Iterator[Suggestion]:
    """A learning rate's range spans more than a factor of three."""
    domain = single(sweep).get(LR)
    span = ends(domain)
    if domain is None or span is None or not 0 < span[0] < span[1]:
        return
    if span[1] / span[0] <= NARROW_FACTOR + 1e-9:
        low, high = span[0] / 10, span[1] * 10
        why = f"{ranged(domain)} is narrow: the best learning rate may lie a decade outside"
        yield Suggestion(at(LR), why, sets=(log_range(LR, low, high),))


def high_dropout(sweep: Sweep) -> Iterator[Suggestion]:
    """Dropout stays below 0.9, at which a net can hardly learn."""
    searched = {flat: ends(domain) for flat, domain in single(sweep).items() if "dropout" in leaf(flat)}
    for flat, span in searched.items():
        if span is not None and span[1] >= MOST_DROPOUT:
            why = f"reaches {shown(span[1])}, at which a net can hardly learn"
            low = min(span[0], 0.0)
            yield Suggestion(
                at(flat), why, sets=(f"search_space.{flat}={{type: float, min: {shown(low)}, max: 0.5}}",)
            )
    for word, value in sweep.run.net_config.items():
        fixed = "dropout" in word and f"net_config.{word}" not in searched
        if fixed and is_number(value) and value >= MOST_DROPOUT:
            why = f"at {shown(value)} a net can hardly learn"
            yield Suggestion(("run", "net_config", word), why, sets=(f"run.net_config.{word}=0.5",))


def numbers_as_choices(sweep: Sweep) -> Iterator[Suggestion]:
    """Three or more numbers are a range, not choices, so that the sampler knows which are close."""
    if is_grid(sweep):
        return
    for flat, domain in single(sweep).items():
        if not isinstance(domain, Categorical) or domain.ordered or len(domain.choices) < 3:
            continue
        span = ends(domain)
        if span is None:
            continue
        low, high = span
        log = low > 0 and high / low >= 8
        range_ = f"{{type: {kind_of(domain)}, min: {shown(low)}, max: {shown(high)}{', log: true' * log}}}"
        why = f"{len(domain.choices)} numbers as choices: the sampler cannot know which of them are close"
        yield Suggestion(at(flat), why, sets=(f"search_space.{flat}={range_}",))


RULES = (
    AdviceRule(log_scale, "document 003, Scale Selection for Continuous Parameters; 002, best practice 1"),
    AdviceRule(lr_region, "; ".join(f"{name}: {region.source}" for name, region in USEFUL_LR.items())),
    AdviceRule(narrow_lr, "document 003, Pitfall 7 and Search Space Mistake 1"),
    AdviceRule(high_dropout, "document 003, Search Space Mistake 4; ranges in 001 and 002 end at 0.5"),
    AdviceRule(
        numbers_as_choices, "document 001, Search Space Design: linear scale for batch and hidden size"
    ),
)
