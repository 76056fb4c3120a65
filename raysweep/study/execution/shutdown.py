"""Requests to stop a running study: a flag, and the signals that set it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from schedulers.reason import ReasonCode

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """A request to stop with its reason; once made, it stays. It can be pickled."""

    __slots__ = ("code", "reason")

    def __init__(self) -> None:
        self.reason, self.code = "", ReasonCode.STOP_REQUESTED

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return bool(self.reason)

    def request(self, reason: str = "asked to stop", code: ReasonCode = ReasonCode.STOP_REQUESTED) -> None:
        """Request a stop; the first reason is kept, with its code."""
        if not self.requested:
            self.reason, self.code = reason, code


class SignalRelay(StopSignal):
    """Passes a request to stop to the running part of a study, and to all parts after it."""

    __slots__ = ("part",)

    def __init__(self) -> None:
        super().__init__()
        self.part = StopSignal()

    def next(self) -> StopSignal:
        """The stop signal of the next part, already requested if this one is."""
        self.part = StopSignal()
        if self.requested:
            self.part.request(self.reason, self.code)
        return self.part

    def request(self, reason: str = "asked to stop", code: ReasonCode = ReasonCode.STOP_REQUESTED) -> None:
        """Request a stop of this part and all after it."""
        super().request(reason, code)
        self.part.request(reason, code)


@contextmanager
def stopped_by_signals(stop: StopSignal, say: Callable[[str], None]) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM request `stop`; a second one raises KeyboardInterrupt.

    Only the main thread can handle signals: elsewhere (a notebook's worker, a test) nothing is changed.

    Enter it after `ray.init`, which installs a SIGTERM handler of its own, and with
    TUNE_DISABLE_SIGINT_HANDLER=1, or `Tuner.fit` replaces the handler of SIGINT.

    Args:
        stop: is requested at the first signal.
        say: called with one line for the user at the first signal, from the handler, so it must not block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = 0  # counted, since `stop` may have been requested for another reason, such as a time budget

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            raise KeyboardInterrupt
        name = signal.Signals(number).name
        stop.request(f"interrupted by {name}")
        say(f"{name}: stopping after the running epochs; a second signal aborts at once")

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
