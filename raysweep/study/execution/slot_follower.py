"""How many slots there are while nodes come and go, asked for beside the run: an answer may take its time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

EVERY_S = 5.0


class SlotFollower:
    """Counts the slots every few seconds, in a thread of its own, within a `with` block.

    Args:
        count: counts them; None: they stay as they are. What it raises (a control plane that does not answer)
            leaves the last count.
        slots: at first.

    Attributes:
        slots: as last counted.
    """

    def __init__(self, count: Callable[[], int] | None, slots: int) -> None:
        self.slots = slots
        self._count = count
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="slots", daemon=True)

    def __enter__(self) -> SlotFollower:
        if self._count is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()  # not waited for: it may be at a question that nobody answers

    def _follow(self) -> None:
        assert self._count is not None
        while not self._over.wait(EVERY_S):
            try:
                self.slots = self._count()
            except Exception:
                continue
