"""The base of all views of a running study: it takes events and redraws at intervals."""

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
    """A subscriber with its own thread; use it as a context manager around the sweep.

    Taking an event only appends it to a queue. The thread folds and draws a few times a second, which
    leaves the cores to the trials.

    Args:
        facts: of the sweep.
        record: of the study before this attempt; the view owns and updates it from here on.
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
        """Queue an event; returns at once."""
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
        """Draw the remaining events once, and stop."""
        self._over.set()
        self._thread.join()
        self.catch_up()
        self.close()

    def progress(self) -> Progress:
        """The study's progress after the events drawn so far."""
        return progress(
            self.record,
            self.facts,
            elapsed_s=self._clock() - self._since,
            epochs_before=self._epochs_before,
            first_s=self._first_s or 0.0,
        )

    def catch_up(self) -> None:
        """Show every queued line; fold and draw every queued event."""
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
        """Show in a line what the picture does not; failed checkpoints only the first time."""
        if isinstance(event, TrialRecovered):
            cause = exception_line(event.error)
            self.show(f"trial {int(event.trial)} lost its process and continues: {cause}")
        elif isinstance(event, SlotsChanged) and event.reason:
            self.show(event.reason)
        elif isinstance(event, CheckpointFailed) and not self._reported_unsaved:
            self._reported_unsaved = True
            self.show(f"{event.error}; trials continue, but after an interruption would restart further back")

    def _run(self) -> None:
        while not self._over.wait(REFRESH_S):
            self.catch_up()

    def open(self) -> None:  # noqa: B027 - a hook: plain lines need no screen
        """Prepare the screen."""

    @abstractmethod
    def draw(self, events: list[Event]) -> None:
        """Show the record, which already holds `events` (perhaps none: time has passed)."""

    def close(self) -> None:  # noqa: B027 - a hook, like open
        """Release the screen."""

    @abstractmethod
    def show(self, line: str) -> None:
        """Show one line that stays."""
