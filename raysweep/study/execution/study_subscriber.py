"""Subscribers: a user's own classes that are told what happens in a study.

The sweep file names them (`subscribers: [my_module.MySubscriber]`), so that a resumed study has them, too.
Each is called in a thread of its own, in the order of the journal: a slow one delays nothing, and one that
raises is reported once and not called again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from raysweep.config import Sweep
from raysweep.config.trial_config import searched
from raysweep.formatting import one_line
from raysweep.study.journal.events import EpochReported, Event, TrialEnded, TrialStarted
from raysweep.study.journal.records import StudyRecord
from raysweep.study.storage.layout import StudyFolder

PATIENCE_S = 20.0  # how long a subscriber may take for the rest when the study has ended


class StudySubscriber:
    """Base class of subscribers: each method is called after its event is in the journal; override any.

    Trials are numbers from 0; metrics have the user's names and signs.
    """

    def study_began(self, name: str, folder: Path, metric: str) -> None:
        """The study begins, or is resumed.

        Args:
            name: of the study.
            folder: of the study.
            metric: that the sweep optimises.
        """

    def trial_began(self, trial: int, config: Mapping[str, Any]) -> None:
        """A trial begins, or continues after a pause, with these searched values, by flat key."""

    def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """A trial has reported an epoch."""

    def trial_ended(self, trial: int, outcome: str, reason: str) -> None:
        """A trial ended: completed, stopped, diverged, failed or infeasible."""

    def study_ended(self) -> None:
        """The attempt ended; flush and close here."""


class SubscriberThread:
    """Passes a study's events to a subscriber in a thread of its own.

    Args:
        subscriber: is called with them.
        name: of the subscriber in messages.
        record: of the study so far; this object updates it from here on.
        say: called with one line if the subscriber fails.
    """

    def __init__(
        self, subscriber: StudySubscriber, name: str, record: StudyRecord, say: Callable[[str], None]
    ) -> None:
        self.subscriber, self.name, self.record, self.say = subscriber, name, record, say
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"subscriber {name}", daemon=True)

    def __call__(self, event: Event) -> None:
        """Queue an event; returns at once."""
        self._calls.put(lambda: self._pass_on(event))

    def begin(self, name: str, folder: Path, metric: str) -> None:
        """Start the thread, and call `study_began`."""
        self._calls.put(lambda: self.subscriber.study_began(name, folder, metric))
        self._thread.start()

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Queue `study_ended`, and wait for the calls in the queue."""
        self._calls.put(self.subscriber.study_ended)
        self._calls.put(None)
        self._thread.join(patience_s)
        if self._thread.is_alive():
            self.say(f"subscriber {self.name}: still busy after {patience_s:g} s; its last events are lost")

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception as error:
                message = f"{type(error).__name__}: {one_line(error, 300)}"
                self.say(f"subscriber {self.name}: {message}; it is not called again in this study")
                return

    def _pass_on(self, event: Event) -> None:
        self.record.apply(event)
        match event:
            case TrialStarted():
                config = searched(self.record.trials[event.trial].config)
                self.subscriber.trial_began(int(event.trial), config)
            case EpochReported(again=False):
                self.subscriber.epoch_reported(int(event.trial), event.epoch, event.metrics)
            case TrialEnded():
                self.subscriber.trial_ended(int(event.trial), event.outcome, event.reason)
            case _:
                pass


@contextmanager
def subscribed(
    sweep: Sweep, folder: StudyFolder, record: Callable[[], StudyRecord], say: Callable[[str], None]
) -> Iterator[list[SubscriberThread]]:
    """Run the sweep's own subscribers for the length of the block.

    Args:
        sweep: names them.
        folder: of the study.
        record: makes the record of the study so far, once for each.
        say: called with one line for each that fails.

    Raises:
        RunError: if one cannot be found, or not be created with the sweep file's arguments.
    """
    with ExitStack() as running:
        threads = []
        for each in sweep.subscribers:
            thread = SubscriberThread(each.load(sweep.import_paths)(**each.kwargs), each.name, record(), say)
            thread.begin(sweep.study_name, folder.path, sweep.metric)
            running.callback(thread.close)
            threads.append(thread)
        yield threads
