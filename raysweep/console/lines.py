"""The view without a terminal: a line when a trial ends, and from time to time one on the whole study."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import TextIO

from raysweep.console.formatting import number, settings
from raysweep.console.progress import Facts, Progress
from raysweep.console.watch import StudyView
from raysweep.formatting import duration, printable
from raysweep.study.journal.events import Event, TrialEnded, TrialReopened
from raysweep.study.journal.records import StudyRecord

EVERY_S = 10.0  # without a line, after which the study's progress is printed
AT_ONCE = 10


class Lines(StudyView):
    """Plain lines for log files and pipes, for at most `AT_ONCE` trials per drawing."""

    def __init__(
        self,
        facts: Facts,
        record: StudyRecord,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(facts, record, clock=clock)
        self._stream = sys.stdout if stream is None else stream
        self._printed_at = clock()
        self._trials_over = sum(trial.outcome is not None for trial in record.trials.values())

    def open(self) -> None:
        """Start counting the seconds without a line; those in which Ray started do not count."""
        self._printed_at = self._clock()

    def draw(self, events: list[Event]) -> None:
        """Print the trials that ended; after `EVERY_S` without a line, the study's progress."""
        self._trials_over -= sum(isinstance(event, TrialReopened) for event in events)
        ended = [event for event in events if isinstance(event, TrialEnded)]
        for event in ended[:AT_ONCE]:
            self.show(self._trial_line(event))
        if len(ended) > AT_ONCE:
            self.show(f"... and {len(ended) - AT_ONCE} more trials ended")
        if not ended and self._clock() - self._printed_at >= EVERY_S:
            self.show(study_line(self.progress(), self.facts))

    def show(self, line: str) -> None:
        """Print a line and flush it, so that a reader of the log sees it at once."""
        self._printed_at = self._clock()
        with contextlib.suppress(BrokenPipeError):  # of a caller's own stream: it must not end the sweep
            self._stream.write(printable(line) + "\n")
            self._stream.flush()

    def _trial_line(self, event: TrialEnded) -> str:
        trial = self.record.trials[event.trial]
        value = number(trial.objective_value(self.record.objective, self.facts.sign))
        self._trials_over += 1
        count = f"[{self._trials_over}/{self.facts.wanted}]"
        # The last number that a diverged trial reported is of an earlier epoch.
        shown = "" if event.outcome == "diverged" else f": {self.facts.metric} {value}"
        end = f"{event.outcome} at epoch {trial.epoch}{shown}"
        reason = f"  ({event.reason})" if event.reason else ""
        return f"{count} trial {trial.number} {end}  {settings(trial.config)}{reason}"


def times(now: Progress) -> str:
    """Time elapsed, and the time left if there is an estimate."""
    left = "" if now.left_s is None else f", about {duration(now.left_s)} left"
    return f"{duration(now.elapsed_s)} elapsed{left}"


def study_line(now: Progress, facts: Facts) -> str:
    """A study's progress in one line."""
    best = (
        f"best {facts.metric} {number(now.best.value)} (trial {now.best.number})"
        if now.best
        else "no result yet"
    )
    return (
        f"{now.ended}/{facts.wanted} trials over, {len(now.running)} running; {best}; "
        f"{now.epochs_run} epochs run, {now.epochs_saved} saved; "
        f"{times(now)}"
    )
