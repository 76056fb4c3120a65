"""One trial run again: where curves part, and what has changed since."""

from __future__ import annotations

import math
from typing import Any

import pytest

from raysweep.study.journal.records import CurvePoint
from raysweep.study.results.best_config import NoWinner
from raysweep.study.results.reproduce import (
    curve_of_weights,
    first_difference,
    possible_causes,
    reproduction_config,
)
from tests.study.test_best import CONFIG, record_of, template_sweep


def point(epoch: int, **metrics: float) -> CurvePoint:
    return CurvePoint(epoch, epoch, 0.0, metrics, 0, 0.0)


POINTS = [point(1, val_loss=0.5, epoch_s=1.0), point(2, val_loss=0.25, predicted_final=0.2)]


@pytest.mark.parametrize(
    ("results", "epoch"),
    [
        ([{"val_loss": 0.5, "epoch_s": 2.0}, {"val_loss": 0.25, "epoch_s": 2.0}], None),  # time is no result
        ([{"val_loss": 0.5}, {"val_loss": math.nextafter(0.25, 1)}], 2),  # one bit is a difference
        ([{"val_loss": 0.5}], 2),  # it ended early
        ([{"train_loss": 0.5, "val_loss": 0.5}, {"val_loss": 0.3}], 2),
        ([{"val_loss": math.nan}, {"val_loss": 0.25}], 1),
    ],
)
def test_curves_are_compared_to_the_last_bit(results: list[dict[str, float]], epoch: int | None) -> None:
    difference = first_difference(POINTS, results)
    assert (difference.epoch if difference else None) == epoch


def test_a_trial_without_an_epoch_cannot_be_compared() -> None:
    record = record_of(CONFIG)
    record.trials["00000"].curve.clear()
    with pytest.raises(NoWinner, match="trial 0 has reported no epoch"):
        curve_of_weights(record, "00000")


def test_two_divergences_are_equal() -> None:
    assert first_difference([point(1, val_loss=math.nan)], [{"val_loss": math.nan}]) is None


@pytest.mark.parametrize(
    ("now", "sentences"),
    [
        ({}, []),
        ({"host": "b"}, ["host: a then, b now"]),
        ({"versions": {"torch": "2.14"}}, ["torch: 2.13 then, 2.14 now"]),
        ({"data_fingerprint": "ff"}, ["data_fingerprint: ee then, ff now"]),
        ({"git_commit": "2", "host": "b"}, ["host: a then, b now", "git_commit: 1 then, 2 now"]),
    ],
)
def test_what_has_changed_is_named(now: dict[str, Any], sentences: list[str]) -> None:
    then = {"host": "a", "versions": {"torch": "2.13"}, "data_fingerprint": "ee", "git_commit": "1"}
    assert possible_causes(then, then | now) == sentences


def test_a_copied_trial_is_run_under_the_schedule_of_its_weights() -> None:
    words = reproduction_config(template_sweep(), record_of(CONFIG, copied=True), "00001")
    assert words["optimizer_config"]["lr"] == 0.5, "its donor's"
    assert [change["after_epoch"] for change in words["schedule"]] == [2]
    assert words["trial"]["seed"] == 42


def test_the_curve_of_copied_weights_begins_with_the_donors() -> None:
    points = curve_of_weights(record_of(CONFIG, copied=True), "00001")
    assert [(each.epoch, each.loss) for each in points] == [(1, 0.5), (2, 0.5)]
