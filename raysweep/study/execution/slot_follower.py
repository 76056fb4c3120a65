"""The number of a study's slots while nodes and other studies come and go, counted in a thread."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class SlotNeed:
    """The slots that a study uses and could use now.

    Attributes:
        busy: trials that run, or wait for a process.
        wanted: trials that could run at once, those included.
    """

    busy: int
    wanted: int


@dataclass(frozen=True, slots=True)
class SlotCount:
    """How many trials of a study may run at once.

    Attributes:
        slots: their number; 0: the study is queued.
        shared: whether other studies use some of the machines, so that waiting for a slot is no stall.
        reason: for the number, for people; "" if it follows from the machines alone.
    """

    slots: int
    shared: bool = False
    reason: str = ""


class SlotCounter(Protocol):
    """Counts the slots of one study."""

    def count(self, need: SlotNeed) -> SlotCount:
        """The current count; may block or raise."""

    def close(self) -> None:
        """Release the slots."""


class SlotFollower:
    """Counts the slots on entering and then every few seconds, in a thread of its own; a context manager.

    Args:
        counter: counts them; None: they stay as they are. If it raises (a control plane that does not
            answer), the last count holds.
        slots: the count until the first one succeeds.
        wanted: trials that could run at once when it begins.

    Attributes:
        now: the last count.
        need: the study's use of slots, updated by the run.
    """

    def __init__(self, counter: SlotCounter | None, slots: int, wanted: int = 1) -> None:
        self.now = SlotCount(slots)
        self.need = SlotNeed(0, wanted)
        self._counter = counter
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._follow, name="slots", daemon=True)

    def __enter__(self) -> SlotFollower:
        if self._counter is not None:
            self._count()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()  # the thread is not joined: its counter may block forever
        if self._counter is not None and self._lock.acquire(timeout=EVERY_S):
            try:
                with contextlib.suppress(Exception):
                    self._counter.close()
            finally:
                self._lock.release()

    def _follow(self) -> None:
        while not self._over.wait(EVERY_S):
            self._count()

    def _count(self) -> None:
        assert self._counter is not None
        with self._lock, contextlib.suppress(Exception):
            if not self._over.is_set():
                self.now = self._counter.count(self.need)
