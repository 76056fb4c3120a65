"""What the summary says about several metrics and about the baseline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from raysweep.config.sweep import Metric
from raysweep.console.progress import Facts
from raysweep.console.summary import SHOWN, against_baseline, front_lines
from raysweep.study.journal.events import TrialExploited
from raysweep.study.journal.records import StudyRecord, TrialRecord
from schedulers.racing import BLOCK_KEY, CANDIDATE_KEY
from tests.study.test_front import at, trial

ONE = Facts(name="digits", metric="val_loss", sign=1, epochs=10, wanted=4)
TWO = replace(ONE, metrics=(Metric(name="val_loss"), Metric(name="parameters")))


def study(*trials: TrialRecord, baseline: bool = True) -> StudyRecord:
    trials[0].source = "baseline" if baseline else "sampler"
    return StudyRecord(trials={each.trial: each for each in trials})


@pytest.mark.parametrize(
    ("losses", "line"),
    [
        ((0.5, 0.4), "val_loss 0.5 with the run as it is: the search beat it by 0.1 (20.0%)"),
        ((0.4, 0.5), "val_loss 0.4: no trial beat the run as it is"),
        ((0.4, 0.4), "val_loss 0.4: no trial beat the run as it is"),
    ],
)
def test_the_end_says_whether_the_search_beat_the_baseline(losses: tuple[float, ...], line: str) -> None:
    trials = [trial(number, at(loss, 10)) for number, loss in enumerate(losses)]
    for each in trials:
        each.first_config = {"lr": each.number}
    assert against_baseline(ONE, study(*trials)) == line


def test_a_stopped_baseline_is_not_compared_with() -> None:
    trials = trial(0, at(0.9, 10), outcome="stopped"), trial(1, at(0.4, 10))
    trials[0].status = "stopped"
    line = "trial 0, the run as it is, did not run to its end (stopped)"
    assert against_baseline(ONE, study(*trials)) == line


def test_a_baseline_that_copied_another_trial_is_not_compared_with() -> None:
    """In a population: its last loss is not one of the run as it is."""
    trials = trial(0, at(0.3, 10)), trial(1, at(0.4, 10))
    copied = TrialExploited(t=1.0, trial="0", donor="1", epoch=4, generation=1, config={}, reason="")
    trials[0].lineage.append(copied)
    line = "trial 0, the run as it is, went on as a copy of trial 1 at epoch 4"
    assert against_baseline(ONE, study(*trials)) == line


@pytest.mark.parametrize("own", [{}, {"trial.seed": 7}])
def test_a_better_seed_of_the_baseline_is_not_a_better_configuration(own: dict[str, Any]) -> None:
    trials = [trial(number, at(loss, 10)) for number, loss in enumerate((0.5, 0.4))]
    for each, more in zip(trials, ({}, own), strict=True):
        each.first_config = each.config = {"lr": 0.1, **more}
    assert against_baseline(ONE, study(*trials)) == "val_loss 0.5: no trial beat the run as it is"


def test_a_race_over_seeds_is_not_read_as_a_search() -> None:
    """Its table of means shows the winner."""
    trials = [trial(number, at(loss, 10)) for number, loss in enumerate((0.5, 0.4))]
    for seed, each in enumerate(trials):
        each.first_config = each.config = {CANDIDATE_KEY: "baseline", BLOCK_KEY: seed}
    assert against_baseline(ONE, study(*trials)) == ""


def test_without_a_baseline_nothing_is_printed() -> None:
    assert against_baseline(ONE, study(trial(0, at(0.5, 10)), baseline=False)) == ""


def test_the_front_is_listed_best_first() -> None:
    record = study(trial(0, at(0.5, 10)), trial(1, at(0.4, 20)), trial(2, at(0.6, 30)))
    assert front_lines(TWO, record) == [
        "trial 1: val_loss 0.4, parameters 20",
        "trial 0: val_loss 0.5, parameters 10",
    ]
    assert front_lines(ONE, record) == []


def test_a_long_front_is_cut_and_says_where_the_rest_is() -> None:
    many: list[Any] = [trial(n, at(0.1 + n, 100 - n)) for n in range(SHOWN + 3)]
    assert front_lines(TWO, study(*many))[SHOWN:] == ["and 3 more: status.json"]
