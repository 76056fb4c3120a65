"""What a rule looks at and what it answers with, and how a fix is written as a command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from raysweep.launch_command import launch_command
from raysweep.report.boundary import Edge
from raysweep.report.importance import EpochImportance, Importance
from raysweep.report.noise import Noise
from raysweep.report.subject import Subject
from raysweep.report.tables import Tables
from schedulers.space import Categorical, Float, Int

Severity = Literal["problem", "advice", "note"]
ORDER: tuple[Severity, ...] = ("problem", "advice", "note")
TOP = 5  # trials that are asked where the best ones are meant; 003 validates its top five, too
MARGIN = 0.1  # of a range, on its scale, around what a narrower one keeps
RATES = ("lr", "learning_rate")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was seen.

    Attributes:
        name: of the rule, in snake case.
        severity: problem (the result is not to be trusted), advice (do this next), note.
        evidence: the numbers that were seen.
        reading: what they mean.
        fix: what to do about it; a command where there is one.
        parameters: those of the search space whose range it advises to change.
    """

    name: str
    severity: Severity
    evidence: str
    reading: str
    fix: str
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a rule may look at.

    Attributes:
        noise: how far two trainings of one configuration differ; None while nothing says.
        importance_at_epoch: by all trials at an epoch that each reached; None where none was stopped.
    """

    subject: Subject
    tables: Tables
    edges: tuple[Edge, ...]
    importance: Importance
    noise: Noise | None = None
    importance_at_epoch: EpochImportance | None = None


Rule = Callable[[Evidence], Finding | None]


def on_study(subject: Subject, command: str, options: str = "") -> str:
    """A command on this very study: `python launch.py retrain runs/pbt --top-k 5`; "" for a database."""
    if subject.folder is None:
        return ""
    return f"{launch_command(command, subject.folder)} {options}".rstrip()


def again(subject: Subject, *sets: str) -> str:
    """The line that runs the sweep anew with other words: a study's space may grow, never shrink."""
    words = " ".join(f"--set {text}" for text in sets)
    return f"{subject.rerun} --name {subject.name}-2 {words}"


def rate_key(subject: Subject) -> str | None:
    """The searched learning rate's flat key; None if none is searched."""
    return next((key for key in subject.parameters if key.rpartition(".")[2] in RATES), None)


def moved_rate(subject: Subject) -> tuple[str, ...]:
    """The parameter that `rates_times` would move, if it is searched."""
    key = rate_key(subject)
    return () if key is None else (key,)


def rates_times(subject: Subject, factor: float) -> str:
    """The line that runs the sweep anew with learning rates so many times as high."""
    key = rate_key(subject)
    if key is not None:
        domain = subject.domains[key]
        if not isinstance(domain, Float):
            return f"Choose values of {key} {factor:g} times as high."
        return again(
            subject,
            f"search_space.{key}.min={domain.low * factor:g}",
            f"search_space.{key}.max={domain.high * factor:g}",
        )
    settings = subject.run.get("optimizer_config") or {}
    for name in RATES:
        if isinstance(settings.get(name), int | float):
            return again(subject, f"run.optimizer_config.{name}={settings[name] * factor:g}")
    return f"Search the learning rate, around {factor:g} times of what it is now."


def narrowed(seen: Evidence, key: str, values: Sequence[Any]) -> tuple[str, ...]:
    """The `--set`s that leave a parameter these values, a margin around them, and the baseline's.

    The margin is a tenth of the range on its own scale (a step at least): the best trial is never at the
    new bound, unless it is at the old one.
    """
    domain = seen.subject.domains[key]
    own = [seen.subject.config(trial) for trial in seen.subject.trials if trial.source == "baseline"]
    kept = [*values, *(config[key] for config in own if key in config)]
    if isinstance(domain, Categorical):
        choices = [choice for choice in domain.choices if choice in kept]
        return (f"'search_space.{key}.choices={choices}'",)
    units = [domain.to_unit(value) for value in kept]
    low, high = (
        domain.from_unit(min(max(end, 0.0), 1.0)) for end in (min(units) - MARGIN, max(units) + MARGIN)
    )
    if isinstance(domain, Int):
        low = min(low, max(min(kept) - domain.step, domain.low))
        high = max(high, min(max(kept) + domain.step, domain.high))
    else:
        low, high = float(f"{low:.3g}"), float(f"{high:.3g}")
    return f"search_space.{key}.min={low!r}", f"search_space.{key}.max={high!r}"
