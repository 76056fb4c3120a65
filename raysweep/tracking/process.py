"""The driver's end of the tracking process: MLflow costs the sweep nothing but a short wait at its end.

The process reads the study's journal as it grows. So the driver imports no mlflow, shares no interpreter
lock with it and survives whatever happens to it; and the seconds that mlflow's imports take pass while Ray
starts. Decision 0004 has the figures.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raysweep.study.journal.events import AttemptEnded, Event
from raysweep.study.journal.log import JournalError, Tail
from raysweep.study.storage.secrets import hide_passwords
from raysweep.tracking import cursor
from raysweep.tracking.address import log_in
from raysweep.tracking.loop import FINISH_S, is_readable
from raysweep.tracking.parent_run import FinalState
from raysweep.tracking.runs import SweepFacts
from raysweep.tracking.tracker import JOURNAL
from trainables.imports import CLONE

GRACE_S = 10.0  # for the process itself, beside the time that the store may take
LOG = "tracking.log"


class TrackingProcess:
    """The driver's end of the tracking process.

    Args:
        folder: the study's, with its journal.
        facts: what of the sweep is shown.
        uri: MLflow's tracking URI, see `runs.store_uri`.

    Attributes:
        link: the page worth opening; empty until `close`, or if the store was never reached.
        trouble: what went wrong, or "".
        refused: updates that MLflow would not take.
    """

    def __init__(self, folder: Path, facts: SweepFacts, *, uri: str) -> None:
        self.folder, self.facts, self.uri = folder, facts, log_in(uri, os.environ)
        self.link, self.trouble, self.refused = "", "", 0
        self._child: subprocess.Popen[str] | None = None
        self._finishing = False

    def start(self) -> None:
        """Start the process; what earlier attempts left unsent is sent first."""
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
                start_new_session=True,  # a Ctrl-C is for the driver, which then has the process finish
            )
        self._send_line({"facts": asdict(self.facts), "uri": self.uri})

    def __call__(self, event: Event) -> None:
        """Finish at the last event of an attempt: it is sent while Ray still shuts down."""
        if isinstance(event, AttemptEnded):
            self.finish()

    def finish(self, timeout_s: float = FINISH_S, final_state: FinalState | None = None) -> None:
        """Have the rest sent, and do not wait for it: Ray's shutdown takes as long.

        Args:
            timeout_s: the longest time without progress.
            final_state: of a stage, what its parent run shows in the end.
        """
        if self._child is None or self._finishing:
            return
        self._finishing = True
        state = None if final_state is None else asdict(final_state)
        self._send_line({"timeout_s": timeout_s, "final_state": state})

    @contextlib.contextmanager
    def kill_on_error(self) -> Iterator[None]:
        """Kill the process if the block raises: there is nothing to send then."""
        try:
            yield
        except BaseException:
            if self._child is not None:
                self._child.kill()
                self._reap()
            raise

    def close(
        self, timeout_s: float | None = None, on_progress: Callable[[int], None] = lambda _: None
    ) -> int:
        """Wait until the rest is sent, for as long as that makes progress; a process that hangs is killed.

        Args:
            timeout_s: the longest time without progress; `FINISH_S` if None.
            on_progress: called now and then with the number of unsent events.

        Returns:
            Events that MLflow does not have: the next attempt sends them. `trouble` says why.
        """
        if self._child is None:
            return 0
        timeout_s = FINISH_S if timeout_s is None else timeout_s
        self.finish(timeout_s)
        patience_s = timeout_s + GRACE_S
        try:
            with self.kill_on_error():
                result = self._read_result(patience_s, on_progress)
        except (OSError, ValueError) as error:
            failed = f"the tracking process failed, see {self.folder / LOG}"
            silent = f"{hide_passwords(self.uri)} has not answered for {patience_s:g} s"
            self.trouble = silent if isinstance(error, TimeoutError) else failed
            return self._count_unsent()
        self._reap()
        self.link, self.trouble, self.refused = result["link"], result["trouble"], result["refused"]
        return int(result["unsent"])

    def _reap(self) -> None:
        assert self._child is not None
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._child.wait()

    def _read_result(self, timeout_s: float, on_progress: Callable[[int], None]) -> dict[str, Any]:
        """The answer to `finish`; the lines before it say how many events are left.

        Raises:
            TimeoutError: if the process prints nothing for so long.
            ValueError: if it ends without an answer.
        """
        assert self._child is not None
        assert self._child.stdout is not None
        fd, rest = self._child.stdout.fileno(), b""
        while is_readable(fd, timeout_s):
            more = os.read(fd, 65536)
            *lines, rest = (rest + more).split(b"\n")
            for line in lines:
                answer: dict[str, Any] = json.loads(line)
                if "unsent" in answer:
                    return answer
                on_progress(answer["left"])
            if not more:
                raise ValueError("the process ended")
        raise TimeoutError

    def _count_unsent(self) -> int:
        try:
            return count_unsent(self.folder, self.uri)[0]
        except JournalError as error:
            self.trouble = error.problem
            return 1

    def _send_line(self, fields: dict[str, Any]) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        with contextlib.suppress(OSError):  # the process is gone: `close` will say so
            self._child.stdin.write(json.dumps(fields) + "\n")
            self._child.stdin.flush()


def count_unsent(folder: Path, uri: str) -> tuple[int, str]:
    """Count the events that a store has not confirmed; also what is wrong with the cursor, if anything.

    Args:
        folder: the study's.
        uri: the store's; to another than the cursor's, all events are unsent.

    Raises:
        JournalError: if the journal cannot be read.
    """
    known, trouble = cursor.load(folder / cursor.FILE)
    sent = known.sent if known.uri == uri else 0
    return max(0, sum(1 for _ in Tail(folder / JOURNAL).read()) - sent), trouble
