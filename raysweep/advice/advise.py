"""Asks a sweep file every rule of thumb, and says where in the file each answer belongs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from raysweep.advice import data
from raysweep.advice.catalog import NAMES, RULES
from raysweep.advice.data import DataFacts
from raysweep.advice.rule import AdviceRule, Suggestion
from raysweep.config import LoadedSweep, Problem, SweepError
from raysweep.config.problem import suggestion
from raysweep.launch_command import set_options


@dataclass(frozen=True, slots=True)
class Advice:
    """One piece of advice on a sweep file.

    Attributes:
        name: the rule's, for `ignore_advice`.
        problem: where, what, why, and how to fix it.
        sets: `--set` assignments that fix it; empty where only a person can.
        source: where the rule comes from.
    """

    name: str
    problem: Problem
    sets: tuple[str, ...]
    source: str

    def __str__(self) -> str:
        return f"{self.problem} [{self.name}]"


def advise(reading: LoadedSweep, facts: DataFacts | None = None) -> tuple[Advice, ...]:
    """What the rules of thumb say of a sound sweep file, in the order of the file.

    Args:
        reading: the file.
        facts: what was counted of its data; None leaves out the rules on data.

    Raises:
        SweepError: if `ignore_advice` names no rule.
    """
    ignored = reading.sweep.ignore_advice
    unknown = [(place, name) for place, name in enumerate(ignored) if name not in NAMES]
    if unknown:
        raise SweepError(
            reading.document.problem(("ignore_advice", place), "unknown advice", suggestion(name, NAMES))
            for place, name in unknown
        )
    open_ = reading.sweep.budget is not None and "trials" not in reading.sweep.model_fields_set
    said = [
        _placed(rule, remark, reading)
        for rule, remark in _remarks(reading, facts)
        if rule.name not in ignored and not (open_ and remark.key == ("trials",))  # a budget chooses them
    ]
    return tuple(sorted(said, key=lambda advice: (advice.problem.file, advice.problem.line or 0)))


def headline(advice: Iterable[Advice]) -> str:
    """How many pieces of advice there are, and which, in one line.

    >>> headline(())
    'no advice'
    """
    names = [one.name for one in advice]
    if not names:
        return "no advice"
    return f"{len(names)} {'piece' if len(names) == 1 else 'pieces'} of advice ({', '.join(names)})"


def _remarks(reading: LoadedSweep, facts: DataFacts | None) -> Iterator[tuple[AdviceRule, Suggestion]]:
    for rule in RULES:
        yield from ((rule, remark) for remark in rule.remarks(reading.sweep))
    for rule in data.RULES if facts is not None else ():
        yield from ((rule, remark) for remark in rule.remarks(reading.sweep, facts))


def _placed(rule: AdviceRule, remark: Suggestion, reading: LoadedSweep) -> Advice:
    """Find the remark's key in the file, where the space may be written nested or flat."""
    key = remark.key
    if len(key) > 1 and key[0] == "search_space":
        key = reading.searched.get(str(key[1]), key[:1]) + key[2:]
    flags = set_options(remark.sets)
    fix = " ".join(part for part in (remark.fix, flags and f"try {flags}") if part)
    return Advice(rule.name, reading.document.problem(key, remark.why, fix), remark.sets, rule.source)
