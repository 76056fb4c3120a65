"""The Pareto front: which trials are on it, by which of their values, in which order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysweep.config.sweep import Metric
from raysweep.study.journal.pareto import losses, pareto_front, scored_point
from raysweep.study.journal.records import CurvePoint, TrialRecord

LOSS = Metric(name="val_loss")
SIZE = Metric(name="parameters")
ACCURACY = Metric(name="accuracy", direction="maximize")


def trial(number: int, *points: dict[str, float], outcome: str | None = "completed") -> TrialRecord:
    record = TrialRecord(number, f"{number:05d}", {}, "sampler", 0.0, outcome=outcome)
    for epoch, metrics in enumerate(points, start=1):
        loss = metrics["val_loss"]
        record.curve.append(CurvePoint(epoch, epoch, loss, metrics, 0, 0.0))
        record.last_loss = loss
        if record.best_loss is None or loss < record.best_loss:
            record.best_loss, record.best_epoch = loss, epoch
    return record


def at(loss: float, size: float, **more: float) -> dict[str, float]:
    return {"val_loss": loss, "parameters": size, **more}


def numbers(trials: list[TrialRecord], objective: str = "last", metrics: Any = (LOSS, SIZE)) -> list[int]:
    return [each.number for each in pareto_front(trials, metrics, objective)]


@pytest.mark.parametrize(
    ("trials", "on_it"),
    [
        ([], []),
        ([trial(0, at(0.5, 10))], [0]),
        ([trial(0, at(0.5, 10)), trial(1, at(0.4, 20))], [1, 0]),  # best first by the first metric
        ([trial(0, at(0.5, 10)), trial(1, at(0.5, 20))], [0]),  # as good in one, worse in the other
        ([trial(0, at(0.5, 10)), trial(1, at(0.5, 10))], [0, 1]),  # twins are both on it
        ([trial(0, at(0.5, 10)), trial(1, at(0.1, 5), outcome="stopped")], [0]),  # whole trials first
        ([trial(0, at(0.5, 10), outcome="stopped"), trial(1, at(0.4, 20), outcome=None)], [1, 0]),
        ([trial(0, at(0.1, 1), outcome="infeasible"), trial(1, at(0.5, 10))], [1]),
        ([trial(0, at(0.1, 1), outcome="diverged"), trial(1, at(0.5, float("nan")))], []),
        ([trial(0, {"val_loss": 0.1}), trial(1, at(0.5, 10))], [1]),  # lacks a metric
    ],
)
def test_the_trials_on_the_front(trials: list[TrialRecord], on_it: list[int]) -> None:
    assert numbers(trials) == on_it


def test_a_metric_that_is_maximised_counts_the_other_way() -> None:
    trials = [trial(0, at(0.5, 10, accuracy=0.8)), trial(1, at(0.6, 10, accuracy=0.9))]
    assert numbers(trials, metrics=(LOSS, ACCURACY)) == [0, 1]
    assert numbers(trials, metrics=(ACCURACY, SIZE)) == [1]


def test_values_are_those_of_the_epoch_that_counts() -> None:
    record = trial(0, at(0.3, 10), at(0.9, 20))
    assert losses(record, (LOSS, SIZE), "last") == [0.9, 20.0]
    assert losses(record, (LOSS, SIZE), "best") == [0.3, 10.0]
    assert scored_point(trial(1), "last") is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_what_no_trial_dominates(values: list[tuple[int, int, int]]) -> None:
    """As the definition has it, over every pair."""
    trials = [trial(n, at(a, b, accuracy=-c)) for n, (a, b, c) in enumerate(values)]
    kept = set(numbers(trials, metrics=(LOSS, SIZE, ACCURACY)))
    for number, mine in enumerate(values):
        dominated = any(its != mine and all(i <= m for i, m in zip(its, mine, strict=True)) for its in values)
        assert (number in kept) is not dominated
