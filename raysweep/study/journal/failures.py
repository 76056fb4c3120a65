"""The errors of a study's trials: their causes, how often they occur, and the files that keep them."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from raysweep.study.journal.events import Event, TrialEnded, TrialFailedAwaitingExploit, TrialRetried
from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.study.journal.status_fields import FailureFields
from raysweep.study.storage.layout import StudyFolder

MAX_REPEATED = 3
"""A study ends when so many trials in a row fail with the same error."""

TRACEBACK = "Traceback (most recent call last):"
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+)?")
_FOLDER = re.compile(r"(/[^/\s:'\"]+)+")


def exception_line(error: str) -> str:
    r"""The exception at the end of a traceback, with the first line of its message.

    The lines after it are left out: torch's CUDA errors end with the same debugging advice each time. If the
    first line ends with a colon, the second is added.

    >>> exception_line(f"{TRACEBACK}\n  File 'a.py', line 1\nRuntimeError: CUDA error: assert\nCompile")
    'RuntimeError: CUDA error: assert'
    """
    lines = error.strip().splitlines()
    if TRACEBACK not in lines:
        return lines[-1].strip() if lines else ""
    after = lines[len(lines) - lines[::-1].index(TRACEBACK) :]
    message = list(itertools.dropwhile(lambda line: line[:1].isspace() or not line, after))
    if not message:
        return lines[-1].strip()
    second = message[1].strip() if message[0].rstrip().endswith(":") and len(message) > 1 else ""
    return f"{message[0].strip()} {second}".strip()


def failure_cause(failure: TrialRecord | TrialFailedAwaitingExploit) -> str:
    """The cause of a failure in one line: the exception of its traceback; without a traceback, the reason."""
    return exception_line(failure.error) or failure.reason


def error_signature(error: str) -> str:
    """An error without what differs from trial to trial: numbers, addresses, folders.

    >>> error_signature("ValueError: shape (64, 3) at 0x7f21, /tmp/a/b.csv") == error_signature(
    ...     "ValueError: shape (16, 3) at 0x9a00, /tmp/c/b.csv"
    ... )
    True
    >>> error_signature("KeyError: 'price'") == error_signature("KeyError: 'prize'")
    False
    """
    return _NUMBER.sub("#", _ADDRESS.sub("#", _FOLDER.sub("/", exception_line(error))))


def repeated_error(record: StudyRecord, since: float) -> str:
    """The error that the last `MAX_REPEATED` trials to end all failed with; "" if they did not.

    A failure after which a trial waits to continue as a copy counts like an end.

    Args:
        record: the study.
        since: ends before this time (unix seconds) do not count: each attempt counts from its own start.
    """
    trials = record.trials.values()
    ends = [
        (t.ended_at, t.number, t.outcome, failure_cause(t))
        for t in trials
        if t.ended_at and not t.awaits_copy
    ]
    ends += [(f.t, t.number, f.outcome, failure_cause(f)) for t in trials for f in t.failures_before_copy]
    last = sorted(end for end in ends if end[0] >= since)[-MAX_REPEATED:]
    kinds = {error_signature(error) if outcome == "failed" else None for _, _, outcome, error in last}
    return last[-1][-1] if len(last) == MAX_REPEATED and len(kinds) == 1 and None not in kinds else ""


def common_failures(
    trials: Iterable[TrialRecord], outcomes: Collection[str] = ("failed", "infeasible")
) -> list[FailureFields]:
    """The three most common causes of trials that ended so, with their number and first trial."""
    failed = [
        (failure_cause(failure), trial.trial, failure.outcome)
        for trial in trials
        for failure in _failures(trial)
        if failure.outcome is not None and failure.outcome in outcomes
    ]
    counts = Counter(error for error, _, _ in failed)
    first = {error: (trial, outcome) for error, trial, outcome in reversed(failed)}
    return [
        {"error": error, "trials": count, "first": first[error][0], "outcome": first[error][1]}
        for error, count in counts.most_common(3)
    ]


def _failures(trial: TrialRecord) -> Iterator[TrialRecord | TrialFailedAwaitingExploit]:
    yield from trial.failures_before_copy
    if not trial.awaits_copy:
        yield trial


def error_file(folder: StudyFolder, trial: str) -> Path:
    """The file with a trial's traceback."""
    return folder.path / "trials" / trial / "error.txt"


@dataclass(frozen=True, slots=True)
class ErrorFiles:
    """A subscriber that writes every traceback to its trial's folder; write errors are ignored."""

    folder: StudyFolder

    def __call__(self, event: Event) -> None:
        """Write the traceback of one event, if it has one."""
        if not isinstance(event, TrialEnded | TrialRetried | TrialFailedAwaitingExploit) or not event.error:
            return
        path = error_file(self.folder, event.trial)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(event.error, encoding="utf-8")
        except OSError:
            return
