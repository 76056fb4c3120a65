"""What a rule of thumb is, and the words in which rules ask about a sweep."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from raysweep.config import Sweep
from raysweep.config.parameter import is_number
from raysweep.config.problem import Key, shown
from schedulers.space import Categorical, Domain, Float

LR = "optimizer_config.lr"
GRIDS = ("GridSampler", "BruteForceSampler")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a rule has to say about a sweep.

    Attributes:
        key: what it is about; `("search_space", "optimizer_config.lr")` is a searched parameter,
            wherever in the file it stands.
        why: what is seen, and why it matters.
        fix: how to fix it, in words; empty where `sets` say it all.
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
        remarks: asks a sweep (rules on data: and what was counted of them, too); its name is the rule's,
            its docstring what the rule says.
        source: where the rule comes from, for people.
    """

    remarks: Callable[..., Iterable[Suggestion]]
    source: str

    @property
    def name(self) -> str:
        """What `ignore_advice` calls it."""
        return self.remarks.__name__

    @property
    def message(self) -> str:
        """The rule in one sentence."""
        return (inspect.getdoc(self.remarks) or "").partition("\n")[0]


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "parameter"), counted(2, "parameter")
    ('1 parameter', '2 parameters')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def leaf(flat: str) -> str:
    """The last name of a flat key.

    >>> leaf("net_config.dropout")
    'dropout'
    """
    return flat.rpartition(".")[2]


def class_name(path: str | None) -> str:
    """The last name of a dotted path; empty for none."""
    return "" if path is None else leaf(path)


def at(flat: str, *word: str) -> Key:
    """Where a searched parameter stands, or a word of it."""
    return ("search_space", flat, *word)


def ends(domain: Domain | None) -> tuple[float, float] | None:
    """Smallest and largest value of a domain of numbers; None for any other.

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
    """The word for a domain of numbers: `int`, or `float`."""
    if isinstance(domain, Categorical):
        return "int" if all(isinstance(choice, int) for choice in domain.choices) else "float"
    return "float" if isinstance(domain, Float) else "int"


def single(sweep: Sweep) -> dict[str, Domain]:
    """The searched parameters that have one range, by flat key.

    What has a range for each case of another parameter is not advised on: its author has thought of more
    than a rule of thumb does.
    """
    return {key: parameter.domain for key, parameter in sweep.search_space.items() if not parameter.cases}


def is_grid(sweep: Sweep) -> bool:
    """Whether every point of a list is tried, and no other."""
    return class_name(sweep.sampler.name) in GRIDS


def scheduler_class(sweep: Sweep) -> str:
    """The trial scheduler's name, if it is one of ours; else empty."""
    module, _, name = sweep.trial_scheduler.name.rpartition(".")
    return name if module == "schedulers" else ""


def setting(sweep: Sweep, word: str, default: float) -> float:
    """A number among the trial scheduler's keywords; its default where none is given."""
    given = sweep.trial_scheduler.kwargs.get(word)
    return given if is_number(given) else default
