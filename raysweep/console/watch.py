"""Watches a study: events in, at once and without risk to the sweep; a picture out, now and then."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from raysweep.console.progress import Facts, Progress, progress
from raysweep.study.journal.events import CheckpointFailed, EpochReported, Event, SlotsChanged, TrialRecovered
from raysweep.study.journal.failures import exception_line
from raysweep.study.journal.records import StudyRecord

REFRESH_S = 0.5


class StudyView(ABC):
    """A subscriber with a thread of its own; use it as a context manager around the sweep.

    Taking an event is an append to a queue. All folding and drawing is done by the one thread, a
    few times a second, so trials keep the cores to themselves.

    Args:
        facts: of the sweep.
        record: what is known before this attempt (a resumed study's record); the watch owns it from
            here on.
        clock: monotonic seconds.
    """

    def __init__(
        self, facts: Facts, record: StudyRecord, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.facts = facts
        self.record = record
        self._clock = clock
        self._events: deque[Event] = deque()
        self._lines: deque[str] = deque()
        self._reported_unsaved = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="view", daemon=True)
        self._epochs_before = record.epochs
        self._since = clock()
        self._first_s: float | None = None

    def __call__(self, event: Event) -> None:
        """Take an event; returns at once."""
        self._events.append(event)

    def say(self, line: str) -> None:
        """Show one line that stays; returns at once, so a signal handler may call it."""
        self._lines.append(line)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._since = self._clock()
        self.open()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw what is still to be drawn, once, and stop."""
        self._over.set()
        self._thread.join()
        self.catch_up()
        self.close()

    def progress(self) -> Progress:
        """How far the study is, by the events drawn so far."""
        return progress(
            self.record,
            self.facts,
            elapsed_s=self._clock() - self._since,
            epochs_before=self._epochs_before,
            first_s=self._first_s or 0.0,
        )

    def catch_up(self) -> None:
        """Fold and draw every event that waits, and show every line."""
        while self._lines:
            self.show(self._lines.popleft())
        events = []
        while self._events:
            events.append(self._events.popleft())
            self.record.apply(events[-1])
            self._report_trouble(events[-1])
            if self._first_s is None and isinstance(events[-1], EpochReported):
                self._first_s = self._clock() - self._since
        self.draw(events)

    def _report_trouble(self, event: Event) -> None:
        """Say in a line what the picture does not show; of a disk that refuses only the first time."""
        if isinstance(event, TrialRecovered):
            cause = exception_line(event.error)
            self.show(f"trial {int(event.trial)} lost its process and goes on: {cause}")
        elif isinstance(event, SlotsChanged) and event.reason:
            self.show(event.reason)
        elif isinstance(event, CheckpointFailed) and not self._reported_unsaved:
            self._reported_unsaved = True
            self.show(f"{event.error}; trials go on, and would begin further back after an interruption")

    def _run(self) -> None:
        while not self._over.wait(REFRESH_S):
            self.catch_up()

    def open(self) -> None:  # noqa: B027 - a hook: plain lines need no screen
        """Take the screen."""

    @abstractmethod
    def draw(self, events: list[Event]) -> None:
        """Show the record, which already holds `events` (perhaps none: time has passed)."""

    def close(self) -> None:  # noqa: B027 - a hook, like open
        """Give the screen back."""

    @abstractmethod
    def show(self, line: str) -> None:
        """Show one line that stays."""
