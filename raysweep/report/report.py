"""A report as one value, from which all its forms are made, and as JSON."""

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
from schedulers.outcome import RANKS_NOWHERE

VERSION = 1


@dataclass(frozen=True)
class Report:
    """What was learnt of a study.

    Attributes:
        subject: the study.
        tables: its numbers.
        importance: which parameters mattered, by the completed trials.
        importance_at_epoch: the same for all trials, stopped ones included, at the last epoch that each
            reached; None if none was stopped, or there are too few.
        edges: bounds at which good trials crowd.
        widen: the command that widens them; None if there are none.
        findings: what an expert would notice.
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
    """Make a study's report.

    Raises:
        NothingFound: if there is no trial, or none with a result.
    """
    _expect_something(subject)
    numbers, bounds = tables(subject, top_k), edges(subject, max(top_k, 10))
    shares, common = importance(as_study(subject)), at_common_epoch(subject)
    early = None
    if common is not None:
        early = EpochImportance(common.epoch, importance(as_study(subject, losses=common.losses)))
    several = len(subject.metrics) > 1
    best = pareto_front(subject.trials, subject.metrics, subject.record.objective) if several else []
    return Report(
        subject=subject,
        tables=numbers,
        importance=shares,
        importance_at_epoch=early,
        edges=bounds,
        widen=widening(subject, bounds),
        findings=findings(Evidence(subject, numbers, bounds, shares, noise_of(subject), early)),
        front=tuple(trial.number for trial in best),
    )


def _expect_something(subject: Subject) -> None:
    if not subject.trials:
        raise NothingFound(f"{subject.name}: no trial yet, so there is nothing to report")
    if subject.ranked():
        return
    counts = ", ".join(f"{count} {status}" for status, count in sorted(subject.record.counts().items()))
    errors = [
        f"{each['trials']} x {each['error']}" for each in common_failures(subject.trials, RANKS_NOWHERE)
    ]
    if all(trial.outcome is None for trial in subject.trials):
        raise NothingFound(f"{subject.name}: no trial has reported yet ({counts}); try again later")
    raise NothingFound(
        f"{subject.name}: no trial succeeded ({counts}): {'; '.join(errors) or 'see its journal'}"
    )


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON-serializable fields; keys are those of the dataclasses."""
    subject, numbers = report.subject, report.tables
    fields: dict[str, Any] = plain(
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
            "importance": asdict(report.importance),
            "importance_at_epoch": report.importance_at_epoch and asdict(report.importance_at_epoch),
            "edges": [asdict(edge) for edge in report.edges],
            "widen": report.widen,
            "findings": [asdict(finding) for finding in report.findings],
            "front": list(report.front),
        }
    )
    return fields
