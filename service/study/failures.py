"""What went wrong in a study's trials: kept where one finds it, counted, and told from bad luck."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.study.events import Ended, Event, Retried
from service.study.folder import StudyFolder
from service.study.record import StudyRecord, TrialRecord

RUNNING = 3
"""So many trials that end one after the other by the same error are no accident."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+)?")
_PLACE = re.compile(r"(/[^/\s:'\"]+)+")


def last_line(error: str) -> str:
    """What a traceback ends with: the exception and its message."""
    lines = error.strip().splitlines()
    return lines[-1].strip() if lines else ""


def cause(trial: TrialRecord) -> str:
    """Why a trial failed, in one line: the last of its traceback; where there is none, the reason."""
    return last_line(trial.error) or trial.reason


def signature(error: str) -> str:
    """An error without what differs from trial to trial: numbers, addresses, folders.

    >>> signature("ValueError: shape (64, 3) at 0x7f21, /tmp/a/b.csv") == signature(
    ...     "ValueError: shape (16, 3) at 0x9a00, /tmp/c/b.csv"
    ... )
    True
    >>> signature("KeyError: 'price'") == signature("KeyError: 'prize'")
    False
    """
    return _NUMBER.sub("#", _ADDRESS.sub("#", _PLACE.sub("/", last_line(error))))


def repeated(record: StudyRecord, since: float) -> str:
    """The error by which the last three trials to end all failed; empty if they did not.

    Args:
        record: the study.
        since: trials that had ended before it (unix seconds) do not count: an attempt begins afresh.
    """
    ended = sorted(
        (t for t in record.trials.values() if t.ended_at is not None and t.ended_at >= since),
        key=lambda trial: (trial.ended_at, trial.number),
    )[-RUNNING:]
    kinds = {signature(cause(trial)) for trial in ended if trial.outcome == "failed"}
    same = len(ended) == RUNNING and all(t.outcome == "failed" for t in ended) and len(kinds) == 1
    return cause(ended[-1]) if same else ""


def commonest(trials: Iterable[TrialRecord], at_most: int = 3) -> list[dict[str, Any]]:
    """The commonest causes of failed and infeasible trials, each with how often and where first."""
    failed = [trial for trial in trials if trial.outcome in ("failed", "infeasible")]
    counts = Counter(cause(trial) for trial in failed)
    first = {cause(trial): trial for trial in reversed(failed)}
    return [
        {
            "error": error,
            "trials": count,
            "first": first[error].trial,
            "outcome": first[error].outcome,
        }
        for error, count in counts.most_common(at_most)
    ]


def error_file(folder: StudyFolder, trial: str) -> Path:
    """Where a trial's traceback is kept."""
    return folder.path / "trials" / trial / "error.txt"


@dataclass(frozen=True, slots=True)
class ErrorFiles:
    """A subscriber that keeps every traceback in its trial's folder; a disk that refuses is passed over."""

    folder: StudyFolder

    def __call__(self, event: Event) -> None:
        """Take one event in."""
        if not isinstance(event, Ended | Retried) or not event.error:
            return
        path = error_file(self.folder, event.trial)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(event.error, encoding="utf-8")
        except OSError:
            return
