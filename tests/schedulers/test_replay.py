"""Replay of recorded curves under a rule, on virtual workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedulers.asha import ASHARule
from schedulers.fifo import FIFORule
from schedulers.rule import Continue, Exploit, Pause, Report, Resume, Rule
from schedulers.simulate import replay

CURVES = [[3.0, 2.0, 1.0], [2.0, 2.0, 2.0], [9.0, 8.0, 7.0], [4.0, 3.0, 0.5]]


class RecordingRule(Rule):
    """Records its calls."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.calls: list[Any] = []

    def judge(self, report: Report) -> Any:
        self.calls.append((report.trial_id, report.resource, report.loss))
        return Continue()

    def no_more_trials(self, trial_ids: Sequence[str]) -> None:
        self.calls.append(("no more trials", len(trial_ids)))


class PauseAtOne(Rule):
    """Pauses each trial after one epoch until all have reported; then the best goes on alone."""

    def judge(self, report: Report) -> Any:
        return Pause("waits") if report.resource == 1 else Continue()

    def resume(self, paused: Any) -> Any:
        best = min(self.objective_loss, key=lambda name: self.objective_loss[name], default="")
        all_reported = len(self.last_resource) == len(CURVES)
        return Resume(best, "the best") if all_reported and best in paused else None


class Copier(Rule):
    def judge(self, report: Report) -> Any:
        return Exploit("00000", report.resource, {}, "copies")


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_first_in_first_out_runs_everything(workers: int) -> None:
    outcome = replay(FIFORule(max_resource=3), CURVES, workers=workers)
    assert (outcome.epochs, outcome.whole, outcome.saved) == (12, 12, 0.0)
    assert sorted(outcome.finished) == [0, 1, 2, 3]
    assert outcome.best == 0.5


@pytest.mark.parametrize(("workers", "makespan"), [(1, 12), (2, 6), (3, 6), (4, 3), (9, 3)])
def test_workers_share_the_work(workers: int, makespan: int) -> None:
    assert replay(FIFORule(max_resource=3), CURVES, workers=workers).makespan == makespan


def test_workers_report_in_turns() -> None:
    rule = RecordingRule(max_resource=3)
    replay(rule, CURVES, order=[2, 0], workers=2)
    assert rule.calls == [
        ("no more trials", 2),
        ("00000", 1, 9.0),
        ("00001", 1, 3.0),
        ("00000", 2, 8.0),
        ("00001", 2, 2.0),
        ("00000", 3, 7.0),
        ("00001", 3, 1.0),
    ]


def test_a_slow_trial_reports_later() -> None:
    rule = RecordingRule(max_resource=3)
    replay(rule, CURVES, order=[0, 1], workers=2, pace=[2.5, 1.0, 1.0, 1.0])
    assert [trial for trial, *_ in rule.calls[1:]] == ["00001", "00001", "00000", "00001", "00000", "00000"]


def test_a_rule_is_told_when_the_last_trial_has_started() -> None:
    rule = RecordingRule(max_resource=3)
    replay(rule, CURVES, workers=1)
    assert rule.calls.index(("no more trials", 4)) == 9  # after three trials of three epochs


def test_trials_are_numbered_as_they_start_and_named_as_they_were_recorded() -> None:
    outcome = replay(FIFORule(max_resource=3), CURVES, order=[3, 1])
    assert outcome.finished == (3, 1)


def test_a_stopped_trial_has_its_epoch_and_reason() -> None:
    outcome = replay(ASHARule(max_resource=3, reduction_factor=2), CURVES, order=[0, 2])
    assert outcome.finished == (0,)
    assert outcome.stopped[2] == (1, "rung 1: loss 9 ranks 2 of 2, top 1 goes on")
    assert outcome.epochs == 4


def test_paused_trials_go_on_if_the_rule_says_so_and_else_end() -> None:
    outcome = replay(PauseAtOne(max_resource=3), CURVES, workers=2)
    assert outcome.finished == (1,)
    assert (outcome.epochs, outcome.pauses) == (4 + 2, 4)
    assert {trial: epoch for trial, (epoch, _) in outcome.stopped.items()} == {0: 1, 2: 1, 3: 1}


def test_a_divergence_ends_a_trial_and_its_epochs_are_not_counted_as_saved() -> None:
    outcome = replay(FIFORule(max_resource=3), [[1.0, math.nan, 1.0], [1.0, 1.0, 1.0]])
    assert (outcome.epochs, outcome.whole, outcome.finished) == (5, 5, (1,))


def test_with_nothing_finished_the_best_is_infinite() -> None:
    assert replay(FIFORule(max_resource=1), [[math.nan]]).best == math.inf


def test_no_trials_save_nothing() -> None:
    assert replay(FIFORule(max_resource=3), []).saved == 0.0


@pytest.mark.parametrize(
    ("rule", "workers", "message"),
    [
        (FIFORule(max_resource=3), 0, r"workers \(0\) must be at least 1"),
        (FIFORule(max_resource=4), 1, "curve 0 has 3 epochs, the rule's max_resource is 4"),
        (Copier(max_resource=3), 1, "cannot be replayed under a rule that copies"),
    ],
)
def test_what_cannot_be_replayed_is_refused(rule: Any, workers: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replay(rule, CURVES, workers=workers)


@given(
    curves=st.lists(st.lists(st.floats(0.1, 10), min_size=9, max_size=9), min_size=1, max_size=8),
    workers=st.integers(1, 4),
    variant=st.sampled_from(["stopping", "promotion"]),
)
def test_every_trial_ends_one_way_and_every_epoch_is_counted(
    curves: list[Any], workers: int, variant: str
) -> None:
    rule = ASHARule(max_resource=9, reduction_factor=3, variant=variant)  # type: ignore[arg-type]
    outcome = replay(rule, curves, workers=workers)
    assert sorted([*outcome.finished, *outcome.stopped]) == list(range(len(curves)))
    assert outcome.epochs == 9 * len(outcome.finished) + sum(epoch for epoch, _ in outcome.stopped.values())
