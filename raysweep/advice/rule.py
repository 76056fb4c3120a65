"""What a rule of thumb is, and helpers that rules share."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from raysweep.config import Sweep
from raysweep.config.parameter import is_number
from raysweep.config.problem import Key, shown
from schedulers.space import Categorical, Domain, Float

GRIDS = ("GridSampler", "BruteForceSampler")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a rule suggests about a sweep.

    Attributes:
        key: what it is about; `("search_space", "optimizer_config.lr")` is a searched parameter, whether
            the file writes it nested or flat.
        why: what was found, and why it matters.
        fix: how to fix it, in words; "" if `sets` suffice.
        sets: the `--set` assignments that fix it.
    """

    key: Key
    why: str
    fix: str = ""
    sets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AdviceRule:
    """A rule of thumb.

    Attributes:
        suggest: takes a sweep (and for rules on data, counts of them); its name is the rule's name, its
            docstring the rule.
        source: where the rule comes from, for people.
    """

    suggest: Callable[..., Iterable[Suggestion]]
    source: str

    @property
    def name(self) -> str:
        """The name by which `ignore_advice` silences it."""
        return self.suggest.__name__

    @property
    def message(self) -> str:
        """The rule in one sentence."""
        return (inspect.getdoc(self.suggest) or "").partition("\n")[0]


def leaf(flat: str) -> str:
    """The last name of a flat key.

    >>> leaf("net_config.dropout")
    'dropout'
    """
    return flat.rpartition(".")[2]


def class_name(path: str | None) -> str:
    """The last name of a dotted path; "" for None."""
    return "" if path is None else leaf(path)


def at(flat: str) -> Key:
    """The key of a searched parameter."""
    return ("search_space", flat)


def ends(domain: Domain | None) -> tuple[float, float] | None:
    """Smallest and largest value of a domain of numbers; None for any other domain.

    >>> ends(Categorical((1e-3, 1e-1, 1e-2))), ends(Categorical(("relu", "tanh")))
    ((0.001, 0.1), None)
    """
    if domain is None:
        return None
    if not isinstance(domain, Categorical):
        return domain.low, domain.high
    if all(is_number(choice) for choice in domain.choices):
        return min(domain.choices), max(domain.choices)
    return None


def decades(low: float, high: float) -> float:
    """Orders of magnitude between two positive numbers.

    >>> decades(1e-3, 1)
    3.0
    """
    return math.log10(high / low)


def ranged(domain: Domain) -> str:
    """A domain of numbers as `0.001 to 1`."""
    low, high = ends(domain) or (0, 0)
    return f"{shown(low)} to {shown(high)}"


def log_range(flat: str, low: float, high: float, kind: str = "float") -> str:
    """The `--set` that searches a parameter over orders of magnitude."""
    return f"search_space.{flat}={{type: {kind}, min: {shown(low)}, max: {shown(high)}, log: true}}"


def kind_of(domain: Domain) -> str:
    """The type of a domain of numbers: `int` or `float`."""
    if isinstance(domain, Categorical):
        return "int" if all(isinstance(choice, int) for choice in domain.choices) else "float"
    return "float" if isinstance(domain, Float) else "int"


def single(sweep: Sweep) -> dict[str, Domain]:
    """The searched parameters that have one range, by flat key.

    There is no advice on parameters with a range for each case of another: their author has thought further
    than a rule of thumb.
    """
    return {key: parameter.domain for key, parameter in sweep.search_space.items() if not parameter.cases}


def is_grid(sweep: Sweep) -> bool:
    """Whether the sampler tries every combination of listed values."""
    return class_name(sweep.sampler.name) in GRIDS


def scheduler_class(sweep: Sweep) -> str:
    """The trial scheduler's class name if it is one of `schedulers`, else ""."""
    module, _, name = sweep.trial_scheduler.name.rpartition(".")
    return name if module == "schedulers" else ""


def setting(sweep: Sweep, word: str, default: float) -> float:
    """A numeric keyword of the trial scheduler, or its default."""
    given = sweep.trial_scheduler.kwargs.get(word)
    return given if is_number(given) else default
