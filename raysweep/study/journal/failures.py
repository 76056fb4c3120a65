"""What went wrong in a study's trials: kept where one finds it, counted, and told from bad luck."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from raysweep.study.journal.events import Event, TrialEnded, TrialFailedAwaitingExploit, TrialRetried
from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.study.journal.status_fields import FailureFields
from raysweep.study.storage.layout import StudyFolder

RUNNING = 3
"""So many trials that end one after the other by the same error are no accident."""

TRACEBACK = "Traceback (most recent call last):"
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+)?")
_PLACE = re.compile(r"(/[^/\s:'\"]+)+")


def exception_line(error: str) -> str:
    r"""The exception that a traceback ends with, and the first line of its message.

    What torch says of a GPU ends with advice for its debugging, the same for every error. A first line that
    ends in a colon says nothing without the next.

    >>> exception_line(f"{TRACEBACK}\n  File 'a.py', line 1\nRuntimeError: CUDA error: assert\nCompile")
    'RuntimeError: CUDA error: assert'
    """
    lines = error.strip().splitlines()
    if TRACEBACK not in lines:
        return lines[-1].strip() if lines else ""
    after = lines[len(lines) - lines[::-1].index(TRACEBACK) :]
    said = list(itertools.dropwhile(lambda line: line[:1].isspace() or not line, after))
    if not said:
        return lines[-1].strip()
    more = said[1].strip() if said[0].rstrip().endswith(":") and len(said) > 1 else ""
    return f"{said[0].strip()} {more}".strip()


def cause(trial: TrialRecord) -> str:
    """Why a trial failed, in one line: the exception of its traceback; where there is none, the reason."""
    return exception_line(trial.error) or trial.reason


def _cause(fall: TrialFailedAwaitingExploit) -> str:
    return exception_line(fall.error) or fall.reason


def signature(error: str) -> str:
    """An error without what differs from trial to trial: numbers, addresses, folders.

    >>> signature("ValueError: shape (64, 3) at 0x7f21, /tmp/a/b.csv") == signature(
    ...     "ValueError: shape (16, 3) at 0x9a00, /tmp/c/b.csv"
    ... )
    True
    >>> signature("KeyError: 'price'") == signature("KeyError: 'prize'")
    False
    """
    return _NUMBER.sub("#", _ADDRESS.sub("#", _PLACE.sub("/", exception_line(error))))


def repeated(record: StudyRecord, since: float) -> str:
    """The error by which the last three trials to end (or to fall) all failed; empty if they did not.

    Args:
        record: the study.
        since: trials that had ended before it (unix seconds) do not count: an attempt begins afresh.
    """
    trials = record.trials.values()
    ended = [(t.ended_at, t.number, t.outcome, cause(t)) for t in trials if t.ended_at and not t.awaits_copy]
    fallen = [(f.t, t.number, f.outcome, _cause(f)) for t in trials for f in t.failures_before_copy]
    last = sorted(one for one in [*ended, *fallen] if one[0] >= since)[-RUNNING:]
    kinds = {signature(error) if outcome == "failed" else None for _, _, outcome, error in last}
    return last[-1][-1] if len(last) == RUNNING and len(kinds) == 1 and None not in kinds else ""


def commonest(trials: Iterable[TrialRecord], at_most: int = 3) -> list[FailureFields]:
    """The commonest causes of failed and infeasible trials, each with how often and where first."""
    failed = [
        (error, trial.trial, outcome)
        for trial in trials
        for error, outcome in [
            *((_cause(fall), fall.outcome) for fall in trial.failures_before_copy),
            *([] if trial.awaits_copy else [(cause(trial), trial.outcome)]),
        ]
        if outcome in ("failed", "infeasible")
    ]
    counts = Counter(error for error, _, _ in failed)
    first = {error: (trial, outcome) for error, trial, outcome in reversed(failed)}
    return [
        {"error": error, "trials": count, "first": first[error][0], "outcome": first[error][1]}
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
        if not isinstance(event, TrialEnded | TrialRetried | TrialFailedAwaitingExploit) or not event.error:
            return
        path = error_file(self.folder, event.trial)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(event.error, encoding="utf-8")
        except OSError:
            return
