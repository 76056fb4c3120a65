"""The driver's side of the tracking process, so that MLflow costs a sweep only a short wait at its end.

The process follows the study's journal. So the driver imports no mlflow, shares no interpreter lock with it
and survives its failures; and mlflow's imports, which take seconds, run while Ray starts. Decision 0004 has
the measurements.
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

GRACE_S = 10.0  # for the process itself, added to the time that the store may take
LOG = "tracking.log"


class TrackingProcess:
    """Starts and ends the tracking process.

    Args:
        folder: of the study, with its journal.
        facts: about the sweep.
        uri: MLflow's tracking URI, see `runs.store_uri`.

    Attributes:
        link: of the page with the trials; "" until `close`, or if the store was never reached.
        trouble: what went wrong, or "".
        refused: number of updates that MLflow did not accept.
    """

    def __init__(self, folder: Path, facts: SweepFacts, *, uri: str) -> None:
        self.folder, self.facts, self.uri = folder, facts, log_in(uri, os.environ)
        self.link, self.trouble, self.refused = "", "", 0
        self._child: subprocess.Popen[str] | None = None
        self._finishing = False

    def start(self) -> None:
        """Start the process, which first sends what earlier attempts left unsent."""
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
                start_new_session=True,  # a Ctrl-C is for the driver, which then tells the process to finish
            )
        self._send_line({"facts": asdict(self.facts), "uri": self.uri})

    def __call__(self, event: Event) -> None:
        """Tell the process to finish at the last event of an attempt, while Ray shuts down."""
        if isinstance(event, AttemptEnded):
            self.finish()

    def finish(self, timeout_s: float = FINISH_S, final_state: FinalState | None = None) -> None:
        """Tell the process to send the rest and end, without waiting for it.

        Args:
            timeout_s: the longest time without progress.
            final_state: of the parent run, if this is a stage.
        """
        if self._child is None or self._finishing:
            return
        self._finishing = True
        state = None if final_state is None else asdict(final_state)
        self._send_line({"timeout_s": timeout_s, "final_state": state})

    @contextlib.contextmanager
    def kill_on_error(self) -> Iterator[None]:
        """Kill the process if the block raises."""
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
        """Wait until the rest is sent, as long as there is progress; a hung process is killed.

        Args:
            timeout_s: the longest time without progress; `FINISH_S` if None.
            on_progress: called now and then with the number of unsent events.

        Returns:
            Number of events that MLflow lacks, which the next attempt sends. `trouble` says why.
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
        """Read the process's result; the lines before it have the number of events left.

        Raises:
            TimeoutError: if the process prints nothing for `timeout_s`.
            ValueError: if it ends without a result.
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
        with contextlib.suppress(OSError):  # the process is gone, which `close` reports
            self._child.stdin.write(json.dumps(fields) + "\n")
            self._child.stdin.flush()


def count_unsent(folder: Path, uri: str) -> tuple[int, str]:
    """The number of events that a store has not confirmed, and the problem with the cursor, or "".

    Args:
        folder: of the study.
        uri: of the store; if it is not the cursor's, all events are unsent.

    Raises:
        JournalError: if the journal cannot be read.
    """
    last, trouble = cursor.load(folder / cursor.FILE)
    sent = last.sent if last.uri == uri else 0
    return max(0, sum(1 for _ in Tail(folder / JOURNAL).read()) - sent), trouble
