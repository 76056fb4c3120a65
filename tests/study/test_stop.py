"""How a running study is asked to stop."""

from __future__ import annotations

import pickle
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from raysweep.study.execution.shutdown import SIGNALS, StopSignal, stopped_by_signals


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks_and_the_second_aborts(number: Any) -> None:
    stop = StopSignal()
    signals: list[Any] = []
    with stopped_by_signals(stop, signals.append):
        signal.raise_signal(number)
        assert stop.requested
        assert stop.reason == f"interrupted by {number.name}"
        assert len(signals) == 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_two_different_signals_are_two_as_well() -> None:
    stop = StopSignal()
    with stopped_by_signals(stop, lambda _line: None):
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_during_another_stop_is_still_the_first() -> None:
    """A time budget has ended the sweep; one Ctrl-C more must not tear it down."""
    stop = StopSignal()
    stop.request("time budget")
    with stopped_by_signals(stop, lambda _line: None):
        signal.raise_signal(signal.SIGINT)
    assert stop.reason == "time budget"


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with stopped_by_signals(StopSignal(), lambda _line: None):
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_another_thread_has_no_handlers_to_set() -> None:
    """A notebook's worker thread may run a sweep: Python lets only the main thread handle signals."""
    before = [signal.getsignal(number) for number in SIGNALS]

    def enter() -> list[Any]:
        with stopped_by_signals(StopSignal(), lambda _line: None):
            return [signal.getsignal(number) for number in SIGNALS]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result() == before


def test_the_first_reason_is_kept() -> None:
    stop = StopSignal()
    stop.request("time budget")
    stop.request("interrupted")
    assert stop.reason == "time budget"


def test_a_raised_flag_travels_by_pickle() -> None:
    """Ray pickles whatever is handed to the Tuner."""
    stop = StopSignal()
    assert not pickle.loads(pickle.dumps(stop)).requested
    stop.request()
    assert pickle.loads(pickle.dumps(stop)).requested
