"""Applies every rule of thumb to a sweep file, and finds the line of each suggestion."""

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
        name: of the rule, for `ignore_advice`.
        problem: where, what, why, and how to fix it.
        sets: `--set` assignments that fix it; empty if there are none.
        source: where the rule comes from.
    """

    name: str
    problem: Problem
    sets: tuple[str, ...]
    source: str

    def __str__(self) -> str:
        return f"{self.problem} [{self.name}]"


def advise(reading: LoadedSweep, facts: DataFacts | None = None) -> tuple[Advice, ...]:
    """The advice on a valid sweep file, in the order of the file.

    Args:
        reading: the file.
        facts: counts of its data; None leaves out the rules on data.

    Raises:
        SweepError: if `ignore_advice` names no rule.
    """
    ignored = reading.sweep.ignore_advice
    unknown = [(index, name) for index, name in enumerate(ignored) if name not in NAMES]
    if unknown:
        raise SweepError(
            reading.document.problem(("ignore_advice", index), "unknown advice", suggestion(name, NAMES))
            for index, name in unknown
        )
    budget_sets_trials = reading.sweep.budget is not None and "trials" not in reading.sweep.model_fields_set
    advice = [
        _locate(rule, made, reading)
        for rule, made in _suggestions(reading, facts)
        if rule.name not in ignored and not (budget_sets_trials and made.key == ("trials",))
    ]
    return tuple(sorted(advice, key=lambda one: (one.problem.file, one.problem.line or 0)))


def headline(advice: Iterable[Advice]) -> str:
    """The number and names of pieces of advice, in one line.

    >>> headline(())
    'no advice'
    """
    names = [one.name for one in advice]
    if not names:
        return "no advice"
    return f"{len(names)} {'piece' if len(names) == 1 else 'pieces'} of advice ({', '.join(names)})"


def _suggestions(reading: LoadedSweep, facts: DataFacts | None) -> Iterator[tuple[AdviceRule, Suggestion]]:
    for rule in RULES:
        yield from ((rule, made) for made in rule.suggest(reading.sweep))
    for rule in data.RULES if facts is not None else ():
        yield from ((rule, made) for made in rule.suggest(reading.sweep, facts))


def _locate(rule: AdviceRule, made: Suggestion, reading: LoadedSweep) -> Advice:
    """Find the suggestion's key in the file, where the space may be written nested or flat."""
    key = made.key
    if len(key) > 1 and key[0] == "search_space":
        key = reading.searched.get(str(key[1]), key[:1]) + key[2:]
    flags = set_options(made.sets)
    fix = " ".join(part for part in (made.fix, flags and f"try {flags}") if part)
    return Advice(rule.name, reading.document.problem(key, made.why, fix), made.sets, rule.source)
