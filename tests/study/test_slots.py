"""Slots that come and go while a study runs: they are counted in a thread, reported and used."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysweep.study.execution import slot_follower
from raysweep.study.execution.slot_follower import SlotCount, SlotFollower, SlotNeed
from raysweep.study.journal.events import AttemptStarted, SlotsChanged
from raysweep.study.journal.records import fold


class Answers:
    """Counts with a function."""

    def __init__(self, count: Callable[[SlotNeed], SlotCount]) -> None:
        self.count = count
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_a_count_that_fails_leaves_the_last_one_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_follower, "EVERY_S", 0.001)
    answers, done = iter([3, None, 5]), threading.Event()
    seen: list[int] = []

    def count(need: SlotNeed) -> SlotCount:
        seen.append(follower.now.slots)
        answer = next(answers, 0)
        if answer == 0:
            done.set()
        if answer is None:
            raise ConnectionError("the control plane does not answer")
        return SlotCount(answer or 5)

    counter = Answers(count)
    follower = SlotFollower(counter, 2)
    with follower:
        assert follower.now.slots == 3, "counted before the run begins"
        assert done.wait(60)
        assert not counter.closed
    assert seen[:4] == [2, 3, 3, 5]
    assert counter.closed, "the study claims no slots any more"


def test_slots_without_a_counter_stay_as_they_are() -> None:
    with SlotFollower(None, 4) as follower:
        assert follower.now == SlotCount(4)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 9)), min_size=1, max_size=8))
def test_the_seconds_of_slots_are_those_of_each_time_they_were_so_many(
    steps: list[tuple[float, int]],
) -> None:
    now, events = 0.0, []
    for number, (seconds, slots) in enumerate(steps):
        event = (
            SlotsChanged(t=now, slots=slots)
            if number
            else AttemptStarted(t=now, attempt=1, slots=slots, trials=1)
        )
        events.append(event)
        now += seconds
    record = fold(events)
    assert record.slots == steps[-1][1]
    assert record.slot_seconds(now) == pytest.approx(sum(seconds * slots for seconds, slots in steps))
