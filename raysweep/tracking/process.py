"""Tracking in a process of its own: MLflow costs the sweep nothing but its last words.

The child reads the study's journal as it grows and tells MLflow by a `Tracker`. So the driver imports
no mlflow, shares no interpreter lock with it and survives whatever happens to it; and the seconds
that mlflow's imports take pass while Ray starts. Decision 0004 has the figures.

    python -m raysweep.tracking STUDY_FOLDER    (the sweep's facts on its first line of input)
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raysweep.study.journal.events import AttemptEnded, Event
from raysweep.study.journal.log import JournalError, Tail
from raysweep.study.storage.lock import StudyBusy, lock
from raysweep.tracking import cursor
from raysweep.tracking.address import log_in, shown
from raysweep.tracking.parent_run import FinalState
from raysweep.tracking.runs import SweepFacts
from raysweep.tracking.store import Refused, Store, Unreachable
from raysweep.tracking.tracker import Tracker

CLONE = Path(__file__).parents[2]
LOOK_S = 0.5  # between two looks at the journal
NICENESS = 19  # the cores are the trials', whose processes Ray runs at 15
TURN_S = 60.0  # how long the child of a killed driver may take to finish before the next one begins
LAST_WORDS_S = 20.0
JOURNAL, LOCK, LOG = "journal", "tracking.lock", "tracking.log"


class TrackingProcess:
    """The driver's end of it.

    Args:
        folder: the study's.
        facts: what of the sweep is shown.
        uri: MLflow's tracking URI, see `runs.store_uri`.

    Attributes:
        link: the page worth opening; empty until `close`, or if the store was never reached.
        trouble: what went wrong, or "".
        refused: changes that MLflow would not take.
    """

    def __init__(self, folder: Path, facts: SweepFacts, *, uri: str) -> None:
        self.folder, self.facts, self.uri = folder, facts, log_in(uri, os.environ)
        self.link, self.trouble, self.refused = "", "", 0
        self._child: subprocess.Popen[str] | None = None
        self._finishing = False

    def start(self) -> None:
        """Begin; what earlier attempts left unsent is sent first."""
        command = [sys.executable, "-m", "raysweep.tracking", str(self.folder)]
        paths = [str(CLONE), *filter(None, [os.environ.get("PYTHONPATH")])]
        with (self.folder / LOG).open("w", encoding="utf-8") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"},
                start_new_session=True,  # a Ctrl-C is for the driver, which then says goodbye
            )
        self._tell(json.dumps({"facts": asdict(self.facts), "uri": self.uri}))

    def __call__(self, event: Event) -> None:
        """A subscriber for the sake of the last event: MLflow is told it while Ray still shuts down."""
        if isinstance(event, AttemptEnded):
            self.finish()

    def finish(self, timeout_s: float = LAST_WORDS_S, final_state: FinalState | None = None) -> None:
        """Have the rest sent, and do not wait for it: Ray's shutdown takes as long.

        Args:
            timeout_s: how long it may take.
            final_state: of a stage, what its parent is told in the end.
        """
        if self._child is None or self._finishing:
            return
        self._finishing = True
        words = "" if final_state is None else json.dumps(asdict(final_state))
        self._tell(f"close {timeout_s} {words}".strip())

    @contextlib.contextmanager
    def kill_on_error(self) -> Iterator[None]:
        """End it at once if the block raises: there is nothing to be told then."""
        try:
            yield
        except BaseException:
            if self._child is not None:
                self._child.kill()
                self._end()
            raise

    def close(self, timeout_s: float = LAST_WORDS_S, say: Callable[[int], None] = lambda _: None) -> int:
        """Wait until the rest is sent, for as long as that gets on; gives up at once on a silent store.

        Args:
            timeout_s: how long it may take to get on.
            say: told how many events are left, now and then.

        Returns:
            Events that MLflow does not have: the next attempt sends them. `trouble` says why.
        """
        if self._child is None:
            return 0
        self.finish(timeout_s)
        try:
            with self.kill_on_error():
                words = self._last_words(timeout_s + 10, say)
        except (OSError, ValueError) as error:
            failed = f"the tracking process failed; {self.folder / LOG} has its last words"
            silent = f"{shown(self.uri)} has not answered for {timeout_s + 10:g} s"
            self.trouble = silent if isinstance(error, TimeoutError) else failed
            return self._count_waiting()
        self._end()
        self.link, self.trouble, self.refused = words["link"], words["trouble"], words["refused"]
        return int(words["unsent"])

    def _end(self) -> None:
        assert self._child is not None
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._child.wait()

    def _last_words(self, timeout_s: float, say: Callable[[int], None]) -> dict[str, Any]:
        """The child's answer to `close`; before it, lines that say how many events are left.

        Raises:
            TimeoutError: if it says nothing for so long.
            ValueError: if it ends without.
        """
        assert self._child is not None
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with contextlib.suppress(OSError):
            self._child.stdin.close()  # our last word may stand in the child's buffer: this wakes it
        fd, said = self._child.stdout.fileno(), b""
        while _is_readable(fd, timeout_s):
            more = os.read(fd, 65536)
            said += more
            *whole, said = said.split(b"\n")
            for line in whole:
                words: dict[str, Any] = json.loads(line)
                if "unsent" in words:
                    return words
                say(words["left"])
            if not more:
                raise ValueError("the process ended")
        raise TimeoutError

    def _count_waiting(self) -> int:
        try:
            return waiting(self.folder, self.uri)[0]
        except JournalError as error:
            self.trouble = error.finding
            return 1

    def _tell(self, line: str) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        with contextlib.suppress(OSError):  # the child is gone: `close` will say so
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()


def _is_readable(descriptor: int, timeout_s: float) -> bool:
    """Wait for something to read; by poll, since select fails for the 1,025th descriptor of a process."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(1000 * timeout_s))


def waiting(folder: Path, uri: str) -> tuple[int, str]:
    """How many events of a study its store has not confirmed, and what is wrong with its cursor, if anything.

    Args:
        folder: the study's.
        uri: the store's; of another than was told so far, all wait.

    Raises:
        JournalError: if the journal cannot be read.
    """
    known, trouble = cursor.load(folder / cursor.FILE)
    sent = known.sent if known.uri == uri else 0
    return max(0, sum(1 for _ in Tail(folder / JOURNAL).read()) - sent), trouble


def main() -> None:
    """The child: until told to close, or until the driver is gone."""
    os.nice(NICENESS)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a stopped Ray job's children get it too; stdin ends us
    folder = Path(sys.argv[1])
    words = json.loads(sys.stdin.readline())
    facts = SweepFacts.from_words(words["facts"])
    deadline = time.monotonic() + TURN_S
    while True:
        try:
            with lock(folder / LOCK, "tracking"):
                warm_up(facts.experiment, words["uri"])
                follow(folder, Tracker(folder, facts, uri=words["uri"]))
            return
        except StudyBusy:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_S)


def warm_up(experiment: str, uri: str) -> None:
    """Import mlflow and make the store's tables now, while the driver imports and Ray starts."""
    with contextlib.suppress(Unreachable, Refused):  # the tracker will meet the same, and say so
        Store(uri, study_id="").experiment(experiment)


def follow(folder: Path, tracker: Tracker) -> None:
    """Feed the tracker from the journal; answer `close` with what became of it."""
    tail, trouble = Tail(folder / JOURNAL), ""
    tracker.start(list(tail.read()))
    try:
        while not _is_readable(sys.stdin.fileno(), LOOK_S):
            for event in tail.read():
                tracker(event)
        order = sys.stdin.readline().split(maxsplit=2)
        for event in tail.read():
            tracker(event)
    except JournalError as error:  # it vanished: the driver notices, too; what was read is still sent
        trouble = error.finding
        order = sys.stdin.readline().split(maxsplit=2)
    killed = FinalState(time.time(), {"state": "interrupted"})
    final_state = FinalState(**json.loads(order[2])) if len(order) > 2 else None

    def report_left(left: int) -> None:
        print(json.dumps({"left": left}), flush=True)

    unsent = (
        tracker.close(float(order[1]), final_state, report_left)
        if order
        else tracker.close(LAST_WORDS_S, killed)
    )
    if order:  # else the driver was killed
        unsent, trouble = max(unsent, bool(trouble)), trouble or tracker.trouble
        end = {"unsent": unsent, "link": tracker.link, "trouble": trouble, "refused": tracker.refused}
        print(json.dumps(end))
