"""Proposals that do not depend on which trial ends first."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import pytest

from raysweep.search.deterministic_order import DeterministicOrderSearcher
from raysweep.search.optuna_searcher import OptunaSearcher
from raysweep.search.optuna_space import OptunaSpace
from schedulers.trial_id import trial_id as trial_name
from tests.search.scripted import MIXED, loss


def raced(searcher: Any, slots: int, seed: int, trials: int = 24) -> list[Any]:
    """A sweep on several slots whose epochs take as long as chance will have it."""
    pace, now = np.random.default_rng(seed), 0.0
    running: list[Any] = []
    asked: list[Any] = []
    while len(asked) < trials or running:
        while len(asked) < trials and len(running) < slots and searcher.ready(len(asked)):
            proposal = searcher.ask(len(asked))
            heapq.heappush(running, (now + pace.exponential(), len(asked), 1))
            asked.append(proposal.config)
        assert running, "nobody runs, and nobody may be asked for"
        now, number, epoch = heapq.heappop(running)
        searcher.report(trial_name(number), epoch, loss(asked[number], epoch))
        if epoch < 3:
            heapq.heappush(running, (now + pace.exponential(), number, epoch + 1))
        else:
            searcher.tell(trial_name(number), "completed", loss(asked[number], 3))
    return asked


def make_searcher() -> OptunaSearcher:
    return OptunaSearcher(OptunaSpace(MIXED), sampler_kwargs={"n_startup_trials": 4}, seed=7)


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_two_interleavings_propose_the_same(slots: int) -> None:
    first, second = (
        raced(DeterministicOrderSearcher(make_searcher(), slots), slots, seed) for seed in (1, 2)
    )
    assert first == second


def test_unordered_they_do_not() -> None:
    assert raced(make_searcher(), 4, 1) != raced(make_searcher(), 4, 2)


def test_more_slots_in_a_later_attempt_change_nothing() -> None:
    """The window is that of the first attempt."""
    assert raced(DeterministicOrderSearcher(make_searcher(), 2), 2, 1) == raced(
        DeterministicOrderSearcher(make_searcher(), 2), 6, 5
    )


def test_a_trial_waits_until_all_that_it_must_know_has_ended() -> None:
    searcher = DeterministicOrderSearcher(make_searcher(), 2)
    searcher.ask(0)
    searcher.ask(1)
    searcher.tell("00001", "completed", 0.5)
    assert not searcher.ready(2)
    searcher.tell("00000", "completed", 0.5)
    assert searcher.ready(2)


def test_a_paused_trial_does_not_hold_up_the_others() -> None:
    searcher = DeterministicOrderSearcher(make_searcher(), 1)
    searcher.ask(0)
    searcher.report("00000", 1, 0.5)
    searcher.paused("00000")
    assert searcher.ready(1)
    searcher.ask(1)
    searcher.resumed("00000")
    searcher.tell("00000", "completed", 0.25)  # after its turn: handed on as it comes
    assert searcher.searcher.study.trials[0].value == 0.25


def test_what_was_kept_back_is_in_the_fold_at_the_end() -> None:
    searcher = DeterministicOrderSearcher(make_searcher(), 4)
    raced(searcher, 4, 1)
    assert all(trial.state.is_finished() for trial in searcher.finish().study.trials)
