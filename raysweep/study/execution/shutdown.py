"""How a running study is asked to stop: one flag, and the signals that raise it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from schedulers.reason import ReasonCode

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """A flag that goes up once and stays up; it pickles, and a copy keeps what it knew."""

    __slots__ = ("code", "reason")

    def __init__(self) -> None:
        self.reason, self.code = "", ReasonCode.STOP_REQUESTED

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return bool(self.reason)

    def request(self, reason: str = "asked to stop", code: ReasonCode = ReasonCode.STOP_REQUESTED) -> None:
        """Ask; the first reason is the one that is kept, with its code."""
        if not self.requested:
            self.reason, self.code = reason, code


class SignalRelay(StopSignal):
    """Asks whatever part of a study runs now to stop, and none to begin after it."""

    __slots__ = ("part",)

    def __init__(self) -> None:
        super().__init__()
        self.part = StopSignal()

    def next(self) -> StopSignal:
        """A flag for the part that begins: up already, if it must not."""
        self.part = StopSignal()
        if self.requested:
            self.part.request(self.reason, self.code)
        return self.part

    def request(self, reason: str = "asked to stop", code: ReasonCode = ReasonCode.STOP_REQUESTED) -> None:
        """Ask."""
        super().request(reason, code)
        self.part.request(reason, code)


@contextmanager
def stopped_by_signals(stop: StopSignal, say: Callable[[str], None]) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM raise `stop`; a second one aborts by KeyboardInterrupt.

    Only the main thread can be told of signals: elsewhere (a notebook's worker, a test) they keep
    the meaning they have.

    Enter it after `ray.init`, which puts a SIGTERM handler of its own in place, and with
    TUNE_DISABLE_SIGINT_HANDLER=1, or `Tuner.fit` takes SIGINT away again.

    Args:
        stop: is requested at the first signal.
        say: told one line for the user at the first signal; called from the handler, so it must
            not block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = 0  # counted here: `stop` may be up for another reason, such as a time budget

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            raise KeyboardInterrupt
        name = signal.Signals(number).name
        stop.request(f"interrupted by {name}")
        say(f"{name}: stopping in good order, running epochs are finished first; once more aborts")

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
