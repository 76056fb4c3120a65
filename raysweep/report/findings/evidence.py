"""What a rule takes and returns, and how a fix is written as a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from raysweep.config.parameter import Parameter, alike, holds
from raysweep.launch_command import Command, assignment, launch_command
from raysweep.report.boundary import Edge
from raysweep.report.importance import EpochImportance, Importance
from raysweep.report.noise import Noise
from raysweep.report.subject import Subject
from raysweep.report.tables import Tables
from schedulers.space import Categorical, Domain, Float, Int

Severity = Literal["problem", "advice", "note"]
ORDER: tuple[Severity, ...] = ("problem", "advice", "note")
TOP = 5  # trials that count as the best ones; 003 validates its top five, too
MARGIN = 0.1  # of a range, on its scale, around the values that a narrower one keeps
RATES = ("lr", "learning_rate")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found.

    Attributes:
        name: of the rule, in snake case.
        severity: problem (the result cannot be trusted), advice (do this next), note.
        evidence: the numbers that it is based on.
        reading: what they mean.
        fix: what to do about it; a `Command` if there is one.
        parameters: the searched parameters whose range it advises to change.
    """

    name: str
    severity: Severity
    evidence: str
    reading: str
    fix: str
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The input of a rule.

    Attributes:
        noise: how far two trainings of one configuration differ; None if it is not known.
        importance_at_epoch: by all trials at an epoch that each reached; None if none was stopped.
    """

    subject: Subject
    tables: Tables
    edges: tuple[Edge, ...]
    importance: Importance
    noise: Noise | None = None
    importance_at_epoch: EpochImportance | None = None


Rule = Callable[[Evidence], Finding | None]


def on_study(subject: Subject, command: str, *options: str) -> Command | None:
    """A command on this study: `python launch.py retrain runs/pbt --top-k 5`; None for a database."""
    return None if subject.folder is None else launch_command(command, subject.folder, *options)


def again(subject: Subject, settings: Mapping[str, Any]) -> Command:
    """The command that runs the sweep again under other settings, given by flat key."""
    return subject.again(assignment(key, value) for key, value in settings.items())


def rate_key(subject: Subject) -> str | None:
    """The searched learning rate's flat key; None if none is searched."""
    return next((key for key in subject.parameters if key.rpartition(".")[2] in RATES), None)


def moved_rate(subject: Subject) -> tuple[str, ...]:
    """The parameter that `rates_times` would change, if it is searched."""
    key = rate_key(subject)
    return () if key is None else (key,)


def rates_times(subject: Subject, factor: float) -> str:
    """The command, or advice, to run the sweep again with learning rates multiplied by a factor."""
    key = rate_key(subject)
    if key is not None:
        moved: dict[str, float] = {}
        for place, one in ranges_of(subject, key).items():
            if not isinstance(one.domain, Float):
                return f"Multiply the values of {key} by {factor:g}."
            moved[f"{place}.min"] = float(f"{one.domain.low * factor:g}")
            moved[f"{place}.max"] = float(f"{one.domain.high * factor:g}")
        return again(subject, moved)
    settings = subject.run.get("optimizer_config") or {}
    for name in RATES:
        if isinstance(settings.get(name), int | float):
            rate = float(f"{settings[name] * factor:g}")
            return again(subject, {f"run.optimizer_config.{name}": rate})
    return f"Search the learning rate, around {factor:g} times its present value."


def ranges_of(subject: Subject, key: str) -> dict[str, Parameter]:
    """The range of a searched parameter, or one for each case, by key in the sweep file."""
    parameter, place = subject.parameters[key], f"search_space.{key}"
    if not parameter.cases:
        return {place: parameter}
    return {f"{place}.{number}": case for number, case in enumerate(parameter.cases)}


def narrowed(evidence: Evidence, key: str, configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings that narrow a parameter to its values in these trials and in the baseline.

    With a margin of a tenth of the range on its own scale (at least a step), so the best trial is never at
    the new bound unless it is at the old one. A case that none of the trials belongs to stays unchanged.
    """
    own = [evidence.subject.config(trial) for trial in evidence.subject.trials if trial.source == "baseline"]
    settings: dict[str, Any] = {}
    for place, one in ranges_of(evidence.subject, key).items():
        of_case = [each for each in (*configs, *own) if key in each and holds(one.when, each)]
        if of_case:
            settings |= _around(place, one.domain, [each[key] for each in of_case])
    return settings


def _around(place: str, domain: Domain, kept: Sequence[Any]) -> dict[str, Any]:
    """The settings that narrow a range to these values with their margin, or choices to these values."""
    if isinstance(domain, Categorical):
        choices = [one for one in domain.choices if any(alike(one, value) for value in kept)]
        return {f"{place}.choices": choices}
    units = [domain.to_unit(value) for value in kept]
    low, high = (
        domain.from_unit(min(max(end, 0.0), 1.0)) for end in (min(units) - MARGIN, max(units) + MARGIN)
    )
    if isinstance(domain, Int):
        low = min(low, max(min(kept) - domain.step, domain.low))
        high = max(high, min(max(kept) + domain.step, domain.high))
    else:
        low, high = float(f"{low:.3g}"), float(f"{high:.3g}")
    return {f"{place}.min": low, f"{place}.max": high}
