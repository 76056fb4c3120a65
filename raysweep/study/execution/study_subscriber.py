"""A user's own code that hears what happens in a study: an epoch, a trial's end.

The sweep file names it (`subscribers: [my_module.MySubscriber]`), so that a study that is resumed still has
it. Each is called in a thread of its own, in the order of the journal: one that is slow holds nothing up, and
one that raises is told of once and hears no more.
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

PATIENCE_S = 20.0  # for what a subscriber has still to do when the study is over


class StudySubscriber:
    """Base of subscribers: each method is called when its event is in the journal; override what you need.

    Trials are numbers from 0, metrics are in the user's words and direction.
    """

    def study_began(self, name: str, folder: Path, metric: str) -> None:
        """The study begins, or goes on.

        Args:
            name: of the study.
            folder: that it is kept in.
            metric: what it is judged by.
        """

    def trial_began(self, trial: int, config: Mapping[str, Any]) -> None:
        """A trial begins, or goes on after a pause, under these searched settings, by flat key."""

    def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """A trial has reported an epoch."""

    def trial_ended(self, trial: int, outcome: str, reason: str) -> None:
        """A trial is over: completed, stopped, diverged, failed or infeasible."""

    def study_ended(self) -> None:
        """This process is done with the study; time to flush and close."""


class SubscriberThread:
    """Hands a study's events to a subscriber, from a thread of its own.

    Args:
        subscriber: who hears of them.
        name: what it is called in a message.
        record: what is known before; its own from here on.
        say: told one line if the subscriber fails.
    """

    def __init__(
        self, subscriber: StudySubscriber, name: str, record: StudyRecord, say: Callable[[str], None]
    ) -> None:
        self.subscriber, self.name, self.record, self.say = subscriber, name, record, say
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"subscriber {name}", daemon=True)

    def __call__(self, event: Event) -> None:
        """Take an event; returns at once."""
        self._calls.put(lambda: self._tell(event))

    def begin(self, name: str, folder: Path, metric: str) -> None:
        """Start the thread, and tell of the study."""
        self._calls.put(lambda: self.subscriber.study_began(name, folder, metric))
        self._thread.start()

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Tell of the end, and wait for what is still to be told."""
        self._calls.put(self.subscriber.study_ended)
        self._calls.put(None)
        self._thread.join(patience_s)
        if self._thread.is_alive():
            lost = "what it has not heard is lost"
            self.say(f"subscriber {self.name}: still busy after {patience_s:g} s; {lost}")

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception as error:
                what = f"{type(error).__name__}: {one_line(error, 300)}"
                self.say(f"subscriber {self.name}: {what}; it hears no more of this study")
                return

    def _tell(self, event: Event) -> None:
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
    """The sweep's own subscribers, for the length of a `with` block.

    Args:
        sweep: names them.
        folder: the study.
        record: makes what is known before, anew for each.
        say: told one line of each that fails.

    Raises:
        RunError: if one cannot be found, or called with what the sweep file gives.
    """
    with ExitStack() as running:
        threads = []
        for each in sweep.subscribers:
            thread = SubscriberThread(each.load(sweep.import_paths)(**each.kwargs), each.name, record(), say)
            thread.begin(sweep.study_name, folder.path, sweep.metric)
            running.callback(thread.close)
            threads.append(thread)
        yield threads
