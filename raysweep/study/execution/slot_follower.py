"""How many slots a study has while nodes and other studies come and go, asked for beside the run."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class SlotNeed:
    """What a study does with slots now.

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
        slots: so many; 0: it is queued.
        shared: whether other studies have some of the machines: waiting for them is no stall.
        reason: why they are so many, for people; empty where the machines alone decide.
    """

    slots: int
    shared: bool = False
    reason: str = ""


class SlotCounter(Protocol):
    """Counts the slots of one study."""

    def count(self, need: SlotNeed) -> SlotCount:
        """As of now; may block, may raise: the last count then holds."""

    def close(self) -> None:
        """The study needs none any more."""


class SlotFollower:
    """Counts the slots before the run and every few seconds, in a thread of its own, within a `with` block.

    Args:
        counter: counts them; None: they stay as they are. What it raises (a control plane that does not
            answer) leaves the last count.
        slots: at first, if nothing can be counted.
        wanted: trials that could run at once when it begins.

    Attributes:
        now: as last counted.
        need: what the study does with slots, kept up to date by the run.
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
        self._over.set()  # the thread is not waited for: it may be at a question that nobody answers
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
