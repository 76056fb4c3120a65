"""Findings: what a practised eye would see in a study, each a small rule with evidence, reading and mend.

A rule is a function of `Evidence` that answers with a `Finding` or None; `RULES` is the list. It is pure:
no file, no clock, no plot. To add one, write the function, add it to `RULES`, and give
tests/report/test_findings.py a study that raises it and a near miss that does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from service.report.boundary import Edge, extend_line
from service.report.importance import Importance
from service.report.subject import Subject
from service.report.tables import Tables
from service.report.words import number

Severity = Literal["problem", "advice", "note"]
ORDER: tuple[Severity, ...] = ("problem", "advice", "note")
ALIKE = 0.005  # of the best value
LEAST = 5  # trials, to call any number of them alike


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was seen.

    Attributes:
        name: of the rule, in snake case.
        severity: problem (the result is not to be trusted), advice (do this next), note.
        evidence: the numbers that were seen.
        reading: what they mean.
        mend: what to do about it; a command where there is one.
    """

    name: str
    severity: Severity
    evidence: str
    reading: str
    mend: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a rule may look at."""

    subject: Subject
    tables: Tables
    edges: tuple[Edge, ...]
    importance: Importance


Rule = Callable[[Evidence], Finding | None]


def all_alike(seen: Evidence) -> Finding | None:
    """All completed trials are worth the same, within 0.5%."""
    subject = seen.subject
    losses = [
        worth
        for trial in subject.ranked()
        if trial.outcome == "completed" and (worth := subject.worth(trial)) is not None
    ]
    if len(losses) < LEAST or losses[-1] - losses[0] > ALIKE * abs(losses[0]):
        return None
    return Finding(
        "all_alike",
        "problem",
        f"{len(losses)} completed trials lie between {number(subject.value(losses[0]))} "
        f"and {number(subject.value(losses[-1]))}",
        "What was searched does not matter, or does not reach the training; or all are caught at one floor.",
        "Check that the searched values are used, then search another parameter or a wider range.",
    )


def best_at_an_edge(seen: Evidence) -> Finding | None:
    """The best trials crowd at a bound of the search space."""
    crowded = [edge for edge in seen.edges if edge.crowded]
    if not crowded:
        return None
    return Finding(
        "best_at_an_edge",
        "advice",
        "; ".join(f"{edge.key}: {edge.sentence}" for edge in crowded),
        "The optimum may lie outside the search space.",
        extend_line(seen.subject, seen.edges) or "Widen the range by hand, in the sweep file.",
    )


def baseline_wins(seen: Evidence) -> Finding | None:
    """Nothing that was searched is better than the run's own values."""
    own = seen.tables.baseline
    if own is None or own.gain > 0:
        return None
    return Finding(
        "baseline_wins",
        "problem",
        f"the baseline (trial {own.number}) is worth {number(own.value)}, "
        f"the best of the search {number(own.best)}",
        "The search has not earned its cost yet.",
        "Give it more trials, or narrow the ranges around the run's own values.",
    )


RULES: tuple[Rule, ...] = (all_alike, baseline_wins, best_at_an_edge)


def findings(seen: Evidence) -> tuple[Finding, ...]:
    """What all rules find, the gravest first."""
    found = [finding for rule in RULES if (finding := rule(seen)) is not None]
    return tuple(sorted(found, key=lambda finding: ORDER.index(finding.severity)))
