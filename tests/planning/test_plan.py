"""What a sweep will cost, and how much fits into a number of hours."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import launch
from raysweep.config import read_sweep
from raysweep.planning.curve_prior import POOL, prior_curves, recorded_tables, searched_curves, stretched
from raysweep.planning.earlier_curves import EarlierCurve, EarlierDraw, earlier_curves
from raysweep.planning.plan import START_S, Costs, affordable, plan, startup_trials
from raysweep.study.journal.records import StudyRecord, fold
from raysweep.study.results.counterfactual import make_rule
from schedulers.simulate import replay
from tests.report import curves as curves_by_hand
from tests.report import stories
from tests.sound_sweep import Read

COSTS = Costs((1.0,), slots=2, price=3.6, checkpoint_mb=2.0)
NO_STOPS = "trial_scheduler=schedulers.FIFO"


def flat(trials: int, epochs: int, rng: np.random.Generator) -> list[list[float]]:
    """Trials whose ranks never change, in random order."""
    return [[float(rank)] * epochs for rank in rng.permutation(trials)]


def test_without_a_stopper_every_epoch_is_run(read: Read) -> None:
    forecast = plan(read([NO_STOPS, "trials=10", "run.epochs=20"]).sweep, COSTS, flat)
    assert (forecast.epochs.low, forecast.epochs.middle, forecast.epochs.high) == (200, 200, 200)
    assert forecast.rungs == {1: 10, 20: 10}


def test_a_stopper_runs_less_and_says_who_gets_how_far(read: Read) -> None:
    """ASHA, grace 3, keeps a third each time: of 60 trials some end at 3 of 20 epochs, more at 9."""
    forecast = plan(read([]).sweep, COSTS, flat)
    assert forecast.epochs.high < forecast.worst_epochs == 1200
    assert list(forecast.rungs) == [1, 3, 9, 20] or list(forecast.rungs) == [1, 3, 12, 20]
    assert list(forecast.rungs.values()) == sorted(forecast.rungs.values(), reverse=True)


def test_a_population_trains_all_its_epochs() -> None:
    forecast = plan(read_sweep("sweeps/pbt.yaml").sweep, COSTS, flat)
    assert forecast.epochs.middle == forecast.worst_epochs
    assert "population" in forecast.notes[0]


@pytest.mark.parametrize(("gpu", "named"), [("0.25", True), ("null", False)])
def test_a_plan_for_a_gpu_names_what_measures_its_load(read: Read, gpu: str, named: bool) -> None:
    forecast = plan(read([NO_STOPS, f"resources_per_trial.gpu={gpu}"]).sweep, COSTS, flat)
    assert any("preflight" in note for note in forecast.notes) is named


def test_a_plan_for_a_gpu_says_how_busy_it_was_where_that_was_measured(read: Read) -> None:
    sweep = read([NO_STOPS, "resources_per_trial.gpu=0.25"]).sweep
    notes = plan(sweep, replace(COSTS, gpu_busy=31.4), flat).notes
    assert notes[-1] == "trials of this size and share kept a GPU busy for 31% of the time"


def test_time_and_cost_follow_from_epochs_and_slots(read: Read) -> None:
    """10 trials of 20 seconds, two in parallel: 100 s, the start, and the cost of each report."""
    forecast = plan(read([NO_STOPS, "trials=10", "run.epochs=20"]).sweep, COSTS, flat)
    assert forecast.seconds.middle == pytest.approx(100 + START_S, rel=0.03)
    assert forecast.cost is not None
    assert forecast.cost.middle == pytest.approx(forecast.seconds.middle / 1000)


def test_a_time_budget_ends_it(read: Read) -> None:
    forecast = plan(read([NO_STOPS, "time_budget_s=60"]).sweep, COSTS, flat)
    assert (forecast.seconds.high, forecast.worst_s) == (60, 60)


@pytest.mark.parametrize(("enabled", "megabytes"), [("false", 2 * (10 + 4)), ("true", 2 * (20 + 8))])
def test_disk_holds_every_trials_last_checkpoint_and_the_runnings_newest(
    read: Read, enabled: str, megabytes: int
) -> None:
    sets = [NO_STOPS, "trials=10", f"run.checkpoint_config.enabled={enabled}"]
    assert plan(read(sets).sweep, COSTS, flat).disk_mb == megabytes


@pytest.mark.parametrize(
    ("scheduler", "megabytes"),
    [
        ("{name: schedulers.ASHA, kwargs: {variant: promotion}}", 2 * (20 + 4)),
        ("{name: schedulers.PBT, kwargs: {perturbation_interval: 2}}", 2 * (30 + 4)),
    ],
)
def test_who_waits_has_its_newest_on_disk_and_who_is_copied_one_more(
    read: Read, scheduler: str, megabytes: int
) -> None:
    forecast = plan(read(["trials=10", f"trial_scheduler={scheduler}"]).sweep, COSTS, flat)
    assert forecast.disk_mb == megabytes


def test_an_audit_runs_some_of_what_would_be_stopped(read: Read) -> None:
    plain = plan(read([]).sweep, COSTS, flat)
    audited = plan(read(["trial_scheduler.kwargs.audit_fraction=0.5"]).sweep, COSTS, flat)
    halfway = (plain.epochs.middle + plain.worst_epochs) / 2
    assert audited.epochs.middle == pytest.approx(halfway)


@settings(max_examples=12)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 5))
def test_a_plan_never_exceeds_the_worst_case(trials: int, epochs: int, slots: int) -> None:
    sweep = read_sweep(
        "sweeps/random.yaml", overrides=[f"trials={trials}", f"run.epochs={epochs}", NO_STOPS]
    ).sweep
    forecast = plan(sweep, Costs((0.5, 1.0), slots), prior_curves)
    assert 0 < forecast.epochs.low <= forecast.epochs.middle <= forecast.epochs.high <= forecast.worst_epochs
    assert forecast.seconds.high <= forecast.worst_s * 1.001


def test_more_hours_hold_more_trials_and_a_retraining(read: Read) -> None:
    sweep = read([]).sweep
    short, long = (affordable(sweep, hours, COSTS, flat) for hours in (0.1, 1.0))
    assert short.retrain_s == long.retrain_s > 0
    assert [few.trials < many.trials for few, many in zip(short.choices, long.choices, strict=True)] == [
        True
    ] * 2


def test_hours_that_hold_too_few_ask_for_a_stopper(read: Read) -> None:
    """For a file without one, the most suitable is suggested."""
    fitted = affordable(read([NO_STOPS]).sweep, 0.2, COSTS, flat)
    assert "trial_scheduler=schedulers.ASHA" in fitted.sets


def test_hours_shorter_than_the_retraining_hold_no_trial(read: Read) -> None:
    fitted = affordable(read([]).sweep, 0.001, COSTS, flat)
    assert max(choice.trials for choice in fitted.choices) == 0


@pytest.mark.parametrize(("zeal", "late"), [(0.0, 0.5), (0.5, 1 / 11), (1.0, 1 / 21)])
def test_a_sampler_finds_the_better_ones_later(zeal: float, late: float) -> None:
    """Trial 30 after 10 random ones is the best of zeal * 20, so at the quantile 1 / (zeal * 20 + 1)."""
    quantiles = []
    for seed in range(300):
        curves = searched_curves(flat, 10, zeal)(31, 2, np.random.default_rng(seed))
        quantiles.append((curves[5][-1] / (POOL * 31), curves[30][-1] / (POOL * 31)))
    early, rates = np.mean(quantiles, axis=0)
    assert early == pytest.approx(0.5, abs=0.06)
    assert rates == pytest.approx(late, abs=0.05)  # those found before are no longer there to be found


def test_later_trials_of_a_sampler_that_learns_are_stopped_less(read: Read) -> None:
    learns, blind = (
        plan(read([f"sampler=optuna.samplers.{name}"]).sweep, COSTS, flat)
        for name in ("TPESampler", "RandomSampler")
    )
    assert learns.epochs.middle > 1.2 * blind.epochs.middle


@pytest.mark.parametrize(
    ("sampler", "startup"),
    [
        ("optuna.samplers.RandomSampler", None),
        ("optuna.samplers.QMCSampler", None),
        ("optuna.samplers.TPESampler", 10),
        ("{name: optuna.samplers.TPESampler, kwargs: {n_startup_trials: 25}}", 25),
    ],
)
def test_a_sampler_learns_after_its_start_up_if_at_all(read: Read, sampler: str, startup: int | None) -> None:
    assert startup_trials(read([f"sampler={sampler}"]).sweep) == startup


@pytest.mark.parametrize("scheduler", ["schedulers.PFL", "schedulers.ASHA"])
def test_a_plan_s_interval_holds_what_tasks_run_that_it_does_not_know(read: Read, scheduler: str) -> None:
    """Random search through each of three recorded tables, planned by the others: 9 of 10 at the least."""
    words = ["trials=40", "run.epochs=27", "sampler=optuna.samplers.RandomSampler"]
    sweep = read([*words, f"trial_scheduler={{name: {scheduler}}}"]).sweep
    tables, held = recorded_tables(), []
    for task in ("digits", "pumps", "cancer"):
        others = [table for name, table in tables.items() if not name.startswith(task)]
        expected = plan(sweep, COSTS, partial(prior_curves, tables=others)).epochs
        for seed in range(4):
            rows = np.random.default_rng(seed).permutation(len(tables[task]))[:40]
            rule = make_rule(scheduler, {}, sweep, 40)
            ran = replay(rule, np.exp(tables[task][rows]).tolist(), workers=2, configs=[{}] * 40).epochs
            held.append(expected.low <= ran <= expected.high)
    assert sum(held) >= 0.9 * len(held)


def test_a_curve_keeps_its_first_and_its_last_when_stretched() -> None:
    assert stretched([4.0, 2.0, 1.0], 5) == [4.0, 3.0, 2.0, 1.5, 1.0]
    assert stretched([4.0, 3.0, 2.0, 1.5, 1.0], 2) == [4.0, 1.0]
    assert np.isnan(stretched([4.0, 2.0, np.nan, np.nan], 8)[-1])


def test_known_curves_are_stretched_to_the_new_run() -> None:
    draw = EarlierDraw([EarlierCurve((1.0, 0.5, 0.0), cut_off=False)])
    assert draw(2, 5, np.random.default_rng(0)) == [[1.0, 0.75, 0.5, 0.25, 0.0]] * 2


def trained(trials: int, epochs: int = 27) -> list[list[float]]:
    """Curves of the same shape that end at different losses, in random order."""
    ends = 0.2 + np.random.default_rng(1).permutation(trials) / trials
    return [[end * (1 + 2 / epoch) for epoch in range(1, epochs + 1)] for end in ends.tolist()]


def stopped_half(curves: list[list[float]]) -> list[EarlierCurve]:
    """The worse half was stopped after a third of its epochs."""
    middle = float(np.median([curve[-1] for curve in curves]))
    return [
        EarlierCurve(tuple(curve[:9] if curve[-1] > middle else curve), cut_off=curve[-1] > middle)
        for curve in curves
    ]


def test_curves_that_were_cut_off_are_continued_about_to_their_ends() -> None:
    curves = trained(60)
    draw = EarlierDraw(stopped_half(curves))
    drawn = [curve for seed in range(5) for curve in draw(60, 27, np.random.default_rng(seed))]
    wanted = {curve[0]: curve for curve in curves}
    off = [abs(np.log(curve[-1] / wanted[curve[0]][-1])) for curve in drawn]
    assert np.median(off) < 0.1
    ends = np.quantile([curve[-1] for curve in drawn], (0.1, 0.5, 0.9))
    assert ends == pytest.approx(np.quantile([curve[-1] for curve in curves], (0.1, 0.5, 0.9)), rel=0.15)


def test_a_plan_by_cut_off_curves_is_that_by_the_whole_ones(read: Read) -> None:
    """As for a study whose worse half was stopped, not one that had only good trials."""
    asha = "trial_scheduler={name: schedulers.ASHA, kwargs: {reduction_factor: 3}}"
    sweep = read(["trials=40", "run.epochs=27", "sampler=optuna.samplers.RandomSampler", asha]).sweep
    curves = trained(40)
    whole = [EarlierCurve(tuple(curve), cut_off=False) for curve in curves]
    survivors = [curve for curve in stopped_half(curves) if not curve.cut_off]
    truth, cut_off, biased = (
        plan(sweep, COSTS, EarlierDraw(known)).epochs.middle
        for known in (whole, stopped_half(curves), survivors)
    )
    assert cut_off == pytest.approx(truth, rel=0.1)
    assert biased < 0.85 * truth


def test_an_earlier_study_s_order_is_kept_about() -> None:
    curves = [EarlierCurve((float(number),) * 3, cut_off=False) for number in range(100)]
    drawn = EarlierDraw(curves)(100, 3, np.random.default_rng(0))
    first, last = drawn[:20], drawn[-20:]
    assert np.mean(first) < 30 < 70 < np.mean(last)


def record_of(*trials: tuple[str, list[float]]) -> StudyRecord:
    """A record of trials with these outcomes and losses."""
    events = [
        event
        for number, (outcome, losses) in enumerate(trials)
        for event in curves_by_hand.trial(number, losses, outcome=outcome, config={})
    ]
    return fold(events, "last")


def test_of_an_earlier_study_all_curves_count_but_those_of_failed_trials() -> None:
    whole = [("completed", [0.5, 0.4, 0.3])] * 3
    others = [("stopped", [0.9]), ("diverged", [0.8]), ("failed", [0.7]), ("infeasible", [0.6])]
    curves = earlier_curves(record_of(*whole, *others))
    assert [curve.cut_off for curve in curves] == [False] * 3 + [True, False]
    assert curves[3].losses == (0.9,)
    assert np.array_equal(curves[4].losses, (0.8, np.nan, np.nan), equal_nan=True)


@pytest.mark.parametrize(
    ("finished", "stopped", "count"), [(0, 5, 0), (2, 5, 0), (3, 5, 8), (1, 0, 1), (0, 0, 0)]
)
def test_too_few_finished_trials_leave_the_plan_to_the_prior(finished: int, stopped: int, count: int) -> None:
    trials = [("completed", [0.5, 0.4])] * finished + [("stopped", [0.9])] * stopped
    assert len(earlier_curves(record_of(*trials))) == count


def test_the_same_seed_plans_the_same(read: Read) -> None:
    sweep = read([]).sweep
    assert plan(sweep, COSTS, prior_curves) == plan(sweep, COSTS, prior_curves)


@pytest.mark.parametrize("more", [[], ["--hours", "8"]])
def test_the_command_answers_programs(
    capsys: pytest.CaptureFixture[str], more: list[Any] | list[str]
) -> None:
    assert launch.main(["plan", "sweeps/asha.yaml", "--epoch-s", "0.5", "--json", *more]) == 0
    assert "assumed" in json.loads(capsys.readouterr().out)


def test_the_command_plans_by_an_earlier_study_s_stopped_trials_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told_study = stories.write(tmp_path, stories.some_trials(12))
    command = ["plan", "sweeps/asha.yaml", "--like", str(told_study.path), "--epoch-s", "0.5", "--json"]
    assert launch.main(command) == 0
    assert json.loads(capsys.readouterr().out)["assumed"] == (
        "7 whole ones of the earlier study, in its order, and 4 that were cut off, continued by the curve "
        "model of PFL"
    )


@pytest.mark.parametrize("more", [["--price", "2"], ["--hours", "8"]])
def test_the_command_answers_people(capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    assert launch.main(["plan", "sweeps/asha.yaml", "--epoch-s", "0.5", *more]) == 0
    assert "assumed" in capsys.readouterr().out
