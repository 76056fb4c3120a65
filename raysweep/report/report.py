"""The whole of a report as one value, and the same as JSON: every written form is made from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import optuna

from raysweep.launch_command import Command
from raysweep.report.boundary import Edge, edges, widening
from raysweep.report.errors import NothingFound
from raysweep.report.findings import Evidence, Finding, findings
from raysweep.report.formatting import plain
from raysweep.report.importance import EpochImportance, Importance, importance
from raysweep.report.noise import noise_of
from raysweep.report.optuna_study import as_study
from raysweep.report.subject import Subject
from raysweep.report.tables import Tables, tables
from raysweep.report.trial_points import at_common_epoch
from raysweep.study.journal.failures import common_failures
from raysweep.study.journal.pareto import pareto_front

VERSION = 1


@dataclass(frozen=True)
class Report:
    """What was learnt of a study.

    Attributes:
        subject: the study.
        tables: its numbers.
        importance: which parameters mattered, by the completed trials.
        importance_at_epoch: the same by all trials, stopped ones too, at the last epoch that each reached;
            None where none was stopped, or too few are left.
        edges: bounds at which good trials crowd.
        widen: the command that widens them; None if none is to be.
        findings: what a practised eye would see.
        front: numbers of the trials on the Pareto front; empty for a single metric.
    """

    subject: Subject
    tables: Tables
    importance: Importance
    importance_at_epoch: EpochImportance | None
    edges: tuple[Edge, ...]
    widen: Command | None
    findings: tuple[Finding, ...]
    front: tuple[int, ...]


def report(subject: Subject, top_k: int) -> Report:
    """Learn what can be learnt.

    Raises:
        NothingFound: if there is no trial to report on, or none that was worth anything.
    """
    _expect_something(subject)
    numbers, bounds = tables(subject, top_k), edges(subject, max(top_k, 10))
    which, same = importance(as_study(subject)), at_common_epoch(subject)
    early = None
    if same is not None:
        early = EpochImportance(same.epoch, importance(as_study(subject, losses=same.losses)))
    several = len(subject.metrics) > 1
    best = pareto_front(subject.trials, subject.metrics, subject.record.objective) if several else []
    return Report(
        subject=subject,
        tables=numbers,
        importance=which,
        importance_at_epoch=early,
        edges=bounds,
        widen=widening(subject, bounds),
        findings=findings(Evidence(subject, numbers, bounds, which, noise_of(subject), early)),
        front=tuple(trial.number for trial in best),
    )


def _expect_something(subject: Subject) -> None:
    if not subject.trials:
        raise NothingFound(f"{subject.name}: no trial yet, so there is nothing to report")
    if subject.ranked():
        return
    counts = ", ".join(f"{count} {word}" for word, count in sorted(subject.record.counts().items()))
    why = [f"{each['trials']} x {each['error']}" for each in common_failures(subject.trials)]
    if all(trial.outcome is None for trial in subject.trials):
        raise NothingFound(f"{subject.name}: no trial has reported yet ({counts}); look again in a while")
    raise NothingFound(
        f"{subject.name}: no trial succeeded ({counts}): {'; '.join(why) or 'see its journal'}"
    )


def as_json(found: Report) -> dict[str, Any]:
    """The report as JSON has it; keys are those of the dataclasses."""
    subject, numbers = found.subject, found.tables
    words: dict[str, Any] = plain(
        {
            "version": VERSION,
            "study": subject.name,
            "state": subject.state,
            "metrics": [metric.model_dump() for metric in subject.metrics],
            "objective": subject.record.objective,
            "epochs": subject.epochs,
            "trial_scheduler": subject.scheduler.model_dump(mode="json"),
            "optuna": optuna.__version__,
            **asdict(numbers),
            "importance": asdict(found.importance),
            "importance_at_epoch": found.importance_at_epoch and asdict(found.importance_at_epoch),
            "edges": [asdict(edge) for edge in found.edges],
            "widen": found.widen,
            "findings": [asdict(finding) for finding in found.findings],
            "front": list(found.front),
        }
    )
    return words
