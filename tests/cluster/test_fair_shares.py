"""How sweeps that run side by side share slots: the division, and the ledger over time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysweep.cluster.fair_shares import TURN_S, LedgerEntry, ShareLedger, SlotClaim, divide_slots

ONE_CPU = {"CPU": 1.0}


def claim(slots: int = 8, wanted: int = 99, priority: int = 1, busy: int = 0, **fields: Any) -> SlotClaim:
    """The claim of a study whose trials take a core each, on a machine with `slots` cores."""
    values: dict[str, Any] = {"cost": ONE_CPU, "total": {"CPU": float(slots)}, "fits": slots} | fields
    study = values.pop("study", "a")
    return SlotClaim(study, "ada", f"/runs/{study}", priority, wanted=wanted, busy=busy, **values)


def shares(*claims: SlotClaim, served_s: tuple[float, ...] = ()) -> list[int]:
    """The shares of claims that were made in this order."""
    served = served_s or (0.0,) * len(claims)
    entries = {
        str(number): LedgerEntry(each, number, number, served_s=served[number])
        for number, each in enumerate(claims)
    }
    return list(divide_slots(entries).values())


@pytest.mark.parametrize(
    ("slots", "asked", "expected"),
    [
        (8, [(99, 1)], [8]),
        (8, [(99, 1), (99, 1)], [4, 4]),
        (5, [(99, 1), (99, 1)], [3, 2]),  # who came first has the odd one, at first
        (8, [(99, 3), (99, 1)], [6, 2]),
        (8, [(2, 1), (99, 1)], [2, 6]),  # what one does not want is the other's
        (8, [(0, 1), (99, 1)], [0, 8]),
        (4, [(99, 100), (99, 1), (99, 1)], [2, 1, 1]),  # a low priority is slow, not starved
        (1, [(99, 1), (99, 1)], [1, 0]),
        (1, [(99, 1), (99, 5)], [0, 1]),
        (8, [], []),
    ],
)
def test_slots_are_divided_by_priority_among_those_who_want_them(
    slots: int, asked: list[tuple[int, int]], expected: list[int]
) -> None:
    assert shares(*(claim(slots, wanted, priority) for wanted, priority in asked)) == expected


def test_a_slot_for_which_two_wait_goes_to_the_one_served_less() -> None:
    one = claim(1)
    assert shares(one, one, served_s=(TURN_S, 0.0)) == [0, 1]
    assert shares(one, one, served_s=(TURN_S - 1, 0.0)) == [1, 0], "not before its turn is over"
    assert shares(claim(1, priority=2), one, served_s=(TURN_S, 0.0)) == [1, 0], "twice the turn"


def test_trials_of_different_needs_leave_each_other_the_rest() -> None:
    total = {"CPU": 16.0, "GPU": 2.0}
    on_gpus = claim(cost={"CPU": 1.0, "GPU": 1.0}, total=total, fits=2)
    on_cores = claim(cost={"CPU": 1.0, "GPU": 0.0}, total=total, fits=16)
    assert shares(on_gpus, on_cores) == [2, 14]


def test_trials_that_take_more_are_fewer() -> None:
    large = claim(cost={"CPU": 4.0}, fits=2)
    assert shares(large, claim()) == [1, 4]


asking = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5)), min_size=1, max_size=6)


@given(st.integers(1, 16), asking)
def test_no_slot_is_left_that_anybody_wants_and_none_given_twice(
    slots: int, asked: list[tuple[int, int]]
) -> None:
    given_ = shares(*(claim(slots, wanted, priority) for wanted, priority in asked))
    assert sum(given_) == min(slots, sum(min(wanted, slots) for wanted, _ in asked))
    assert all(got <= wanted for got, (wanted, _) in zip(given_, asked, strict=True))


@given(st.integers(1, 16), asking)
def test_everyone_gets_a_slot_if_there_are_enough(slots: int, asked: list[tuple[int, int]]) -> None:
    given_ = shares(*(claim(slots, wanted, priority) for wanted, priority in asked))
    wanting = sum(wanted > 0 for wanted, _ in asked)
    if slots >= wanting:
        assert all(got > 0 for got, (wanted, _) in zip(given_, asked, strict=True) if wanted)


@given(st.integers(1, 16), st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_a_higher_priority_never_gets_less(slots: int, priorities: list[int]) -> None:
    given_ = shares(*(claim(slots, priority=priority) for priority in priorities))
    ranked = sorted(zip(priorities, given_, strict=True))
    assert [got for _, got in ranked] == sorted(given_)


def test_a_second_sweep_gets_slots_as_trials_of_the_first_end() -> None:
    ledger = ShareLedger()
    assert ledger.renew("a", claim(4), 0.0).slots == 4
    second = ledger.renew("b", claim(4, study="b"), 1.0)
    assert (second.slots, second.share, second.others) == (0, 2, {"a": 4})
    first = ledger.renew("a", claim(4, busy=4), 2.0)
    assert (first.slots, first.share, first.others) == (2, 2, {"b": 0})
    ledger.renew("a", claim(4, busy=3), 3.0)
    assert ledger.renew("b", claim(4, study="b"), 4.0).slots == 1
    ledger.renew("a", claim(4, busy=2), 5.0)
    assert ledger.renew("b", claim(4, study="b", busy=1), 6.0).slots == 2


def test_a_sweep_that_ends_leaves_its_slots_to_the_others() -> None:
    ledger = ShareLedger()
    ledger.renew("a", claim(4), 0.0)
    ledger.renew("b", claim(4, study="b"), 1.0)
    ledger.release("a")
    left = ledger.renew("b", claim(4, study="b"), 2.0)
    assert (left.slots, left.others) == (4, {})


def test_who_does_not_renew_its_claim_is_gone() -> None:
    ledger = ShareLedger()
    ledger.renew("a", claim(4), 0.0)
    ledger.renew("b", claim(4), 50.0)
    ledger.expire(61.0, after_s=60.0)
    assert list(ledger.entries) == ["b"]


def test_a_newcomer_does_not_make_up_for_the_time_before_it_came() -> None:
    ledger = ShareLedger()
    ledger.renew("a", claim(1), 0.0)
    ledger.renew("a", claim(1, busy=1), 36_000.0)
    ledger.renew("b", claim(1), 36_001.0)
    assert ledger.renew("a", claim(1, busy=1), 36_002.0).share == 1


def simulated(slots: int, priorities: list[int], trial_s: int, seconds: int) -> list[float]:
    """Slot-seconds of sweeps with endless trials of equal length, the first of which starts alone."""
    ledger = ShareLedger()
    running: list[list[int]] = [[] for _ in priorities]  # seconds that each trial has left
    had = [0.0] * len(priorities)
    for now in range(seconds):
        for number, priority in enumerate(priorities):
            if now < number:
                continue
            trials = running[number] = [left - 1 for left in running[number] if left > 1]
            grant = ledger.renew(str(number), claim(slots, 99, priority, busy=len(trials)), float(now))
            trials += [trial_s] * (grant.slots - len(trials))
            had[number] += len(trials)
        assert sum(map(len, running)) <= slots, "no slot is used by two"
    return had


@pytest.mark.parametrize(
    ("slots", "priorities", "trial_s"),
    [(5, [1, 1], 3), (8, [3, 1], 20), (1, [1, 1], 10), (1, [2, 1], 10), (3, [1, 1], 40), (2, [1, 1, 1], 10)],
)
def test_over_time_each_sweep_has_its_part_of_all_slots(
    slots: int, priorities: list[int], trial_s: int
) -> None:
    seconds = 6000
    had = simulated(slots, priorities, trial_s, seconds)
    for part, priority in zip(had, priorities, strict=True):
        fair = slots * seconds * priority / sum(priorities)
        assert part == pytest.approx(fair, rel=0.2)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_a_saved_ledger_continues_the_same(steps: list[tuple[str, int, int]]) -> None:
    kept, written = ShareLedger(), ShareLedger()
    for now, (name, wanted, busy) in enumerate(steps):
        asked = claim(4, wanted, busy=busy, study=name)
        written = ShareLedger.from_json(written.as_json())
        assert kept.renew(name, asked, float(now)) == written.renew(name, asked, float(now))
