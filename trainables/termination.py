"""Handles SIGTERM to a training process: the running step is finished and saved, then the process exits.

Spot notices, `scancel`, a machine's shutdown and `ray stop` end processes this way. Ray's own handler raises
SystemExit anywhere, even in the middle of a user's code, where it cannot be told from a `sys.exit()` of the
user, which is the trial's failure.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

IDLE_S = 2.0  # time that a process asked to leave waits for its driver's call to save


@functools.cache
def termination_of_process() -> Termination:
    """The termination of this process, which handles SIGTERM; shared by all its trials."""
    termination = Termination()
    termination.install()
    return termination


class Termination:
    """Whether this process was asked to leave, and when it does.

    Args:
        idle_s: seconds without a call after which it leaves.
    """

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self.requested = False
        self.idle_s = idle_s
        self._former: Any = None  # Ray's handler, which shuts the process down cleanly
        self._busy = False
        self._overdue = False
        self._timer: threading.Timer | None = None

    def install(self) -> None:
        """Handle SIGTERM from now on; without effect outside the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGTERM, self._handle)

    def request(self) -> None:
        """Ask the process to leave, as a SIGTERM does; without effect if that is not handled."""
        self.requested = self._former is not None

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Keep the process from leaving within the block: during a step or a save."""
        outer, self._busy = self._busy, True
        self.cancel()
        try:
            yield
        finally:
            self._busy = outer
            if self.requested:
                self._leave_if_idle()

    def leave(self) -> None:
        """Exit the process: to the driver it is a lost worker."""
        if callable(self._former):
            self._former(signal.SIGTERM, None)
        raise SystemExit(128 + signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if self._overdue and not self._busy:
            self.leave()
        if not self._busy:
            self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        """Leave after `idle_s`, unless a call comes before."""
        self.cancel()
        self._timer = threading.Timer(self.idle_s, self._is_overdue)
        self._timer.daemon = True
        self._timer.start()

    def _is_overdue(self) -> None:
        self._overdue = True
        os.kill(os.getpid(), signal.SIGTERM)  # the main thread leaves, not this one

    def cancel(self) -> None:
        """Cancel the timer of `_leave_if_idle`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._overdue = None, False
