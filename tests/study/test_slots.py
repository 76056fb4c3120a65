"""Slots that come and go while a study runs: counted beside it, told, and used."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysweep.study.execution import slot_follower
from raysweep.study.execution.slot_follower import SlotFollower
from raysweep.study.journal.events import AttemptStarted, SlotsChanged
from raysweep.study.journal.records import fold


def test_a_count_that_fails_leaves_the_last_one_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_follower, "EVERY_S", 0.001)
    answers, done = iter([3, None, 5]), threading.Event()
    seen: list[int] = []

    def count() -> int:
        seen.append(follower.slots)
        answer = next(answers, "over")
        if answer == "over":
            done.set()
            return 5
        if answer is None:
            raise ConnectionError("the control plane does not answer")
        assert isinstance(answer, int)
        return answer

    with SlotFollower(count, 2) as follower:
        assert done.wait(60)
    assert seen[:4] == [2, 3, 3, 5]


def test_slots_that_nobody_counts_stay_as_they_are() -> None:
    with SlotFollower(None, 4) as follower:
        assert follower.slots == 4


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
