"""Predicting the end of a learning curve, and the uncertainty of the prediction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schedulers.curve_model import (
    RHO,
    TAU,
    Decay,
    Forecast,
    LossScale,
    Predictor,
    decay,
    ladder,
    slopes,
    spreads,
    student_cdf,
    student_quantile,
)

LADDER = ladder(50)


def geometric(rng: np.random.Generator, n: int, rho: float) -> NDArray[Any]:
    """Curves whose gain shrinks by rho per doubling, sampled on the ladder: (n, levels)."""
    first, start = rng.uniform(-0.6, -0.1, n), rng.normal(0, 0.3, n)
    doublings = np.log2(LADDER)
    return start[:, None] + first[:, None] * (1 - rho**doublings) / (1 - rho)


def predictor_of(z: NDArray[Any], level: int, prior: Decay | None = None) -> Predictor:
    """The predictor fitted to the finished curves z."""
    return Predictor(z, prior or decay(z, LADDER), LADDER, level, spreads(z, LADDER)[level])


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 40, 50, 1000])
def test_a_ladder_climbs_to_the_last_epoch(epochs: int) -> None:
    levels = ladder(epochs)
    assert levels[-1] == epochs
    assert levels == sorted(set(levels))


def test_two_levels_are_about_a_doubling() -> None:
    for low, high in zip(LADDER[2:-3], LADDER[4:-1], strict=True):
        assert 1.8 < high / low < 2.1


@given(losses=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5))
def test_a_positive_loss_survives_the_log_scale(losses: list[float]) -> None:
    scale = LossScale.of(losses, positive=True)
    assert [scale.loss(z) for z in scale.z(losses)] == pytest.approx(losses)


@given(losses=st.lists(st.integers(-999, 999), min_size=1, max_size=5))
def test_any_loss_survives_the_raw_scale(losses: list[int]) -> None:
    scale = LossScale.of(losses, positive=False)
    assert [scale.loss(z) for z in scale.z(losses)] == pytest.approx(losses)


def test_the_raw_unit_is_the_spread_of_the_losses_and_no_outlier_moves_it() -> None:
    assert LossScale.of([-3, -2, -1, 0, 1e9], positive=False) == LossScale(log=False, unit=1.0)


def test_what_lies_a_million_units_out_is_cut_off() -> None:
    assert LossScale(log=False, unit=0.5).z([1e300, -1e300]).tolist() == [1e6, -1e6]


def test_equal_losses_have_no_spread_and_a_unit_of_one() -> None:
    assert LossScale.of([0.0, 0.0], positive=False).unit == 1.0


def test_a_forecast_beyond_a_float_is_infinite() -> None:
    assert LossScale(log=True).loss(1e4) == math.inf


def test_a_slope_is_the_change_a_doubling() -> None:
    z = np.log2(LADDER)[None, :] * -0.5
    for level in range(1, len(LADDER)):
        assert slopes(z, LADDER, level)[0] == pytest.approx(-0.5)


def test_the_first_level_has_no_slope() -> None:
    assert slopes(np.ones((2, len(LADDER))), LADDER, 0).tolist() == [0, 0]


def test_without_curves_the_decay_is_what_is_believed_beforehand() -> None:
    assert decay(np.empty((0, len(LADDER))), LADDER) == Decay(RHO, TAU**2)


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.8])
def test_the_decay_of_many_like_curves_is_found(rho: float) -> None:
    fitted = decay(geometric(np.random.default_rng(0), 60, rho), LADDER)
    assert fitted.rho == pytest.approx(rho, abs=0.08)


def test_curves_that_have_not_come_far_count_as_far_as_they_have() -> None:
    z = geometric(np.random.default_rng(0), 60, 0.7)
    z[30:, 8:] = np.nan
    assert decay(z, LADDER).rho == pytest.approx(0.7, abs=0.1)


def test_a_feature_that_never_differs_has_a_spread_of_one() -> None:
    assert spreads(np.ones((5, len(LADDER))), LADDER)[4] == [1.0, 1.0, 1.0]


def test_spreads_are_those_of_a_normal_and_no_burst_counts() -> None:
    z = np.random.default_rng(0).normal(0, 0.3, (400, len(LADDER)))
    z[0] = 1e5
    assert spreads(z, LADDER)[4][2] == pytest.approx(0.3, rel=0.15)


def test_a_curve_unlike_any_finished_one_is_predicted_with_wide_bounds() -> None:
    """Ten curves with similar ends say little about one far off; all curves show how far off it is."""
    rng = np.random.default_rng(6)
    z = geometric(rng, 40, 0.6)
    alike = z[:10] * 0.01
    scales = spreads(np.concatenate([alike, z]), LADDER)
    forecast = Predictor(alike, Decay(), LADDER, 5, scales[5]).predict(z[20])
    assert 0.02 < forecast.sd < 1.0


@given(rho=st.floats(0, 1.1), doublings=st.floats(0.01, 10))
def test_more_doublings_gain_more(rho: float, doublings: float) -> None:
    assert Decay(rho).gain(doublings + 1) >= Decay(rho).gain(doublings) - 1e-12
    assert Decay(rho).variance(doublings + 1) > Decay(rho).variance(doublings)


@pytest.mark.parametrize("level", [3, 5, 7])
def test_a_curve_like_the_finished_ones_is_predicted_where_they_end(level: int) -> None:
    z = geometric(np.random.default_rng(1), 40, 0.6)
    predictor = predictor_of(z[:30], level)
    for curve in z[30:]:
        partial = np.where(np.arange(len(LADDER)) <= level, curve, np.nan)
        forecast = predictor.predict(partial)
        assert abs(forecast.mean - curve[-1]) < 0.05
        assert forecast.quantile(0.01) < curve[-1] < forecast.quantile(0.99)


def test_a_flat_curve_stays_where_it_is() -> None:
    flat = np.zeros((10, len(LADDER)))
    assert predictor_of(flat, 4).predict(np.zeros(len(LADDER))).mean == pytest.approx(0)


@pytest.mark.parametrize("finished", [0, 1, 2])
def test_with_fewer_than_three_finished_the_prior_stands_alone(finished: int) -> None:
    z = geometric(np.random.default_rng(2), 3, 0.5)
    prior = Decay(0.5)
    forecast = predictor_of(z[:finished], 4, prior).predict(z[2])
    doublings = math.log2(50 / LADDER[4])
    drop = float(slopes(z[2:3], LADDER, 4)[0]) * prior.gain(doublings)
    assert forecast.mean == pytest.approx(z[2, 4] + drop)
    assert forecast.sd == pytest.approx(math.sqrt(prior.variance(doublings)))


def test_the_further_the_end_the_wider_the_forecast() -> None:
    z = geometric(np.random.default_rng(3), 30, 0.6)
    z += np.random.default_rng(4).normal(0, 0.05, z.shape).cumsum(axis=1)
    widths = [predictor_of(z, level).predict(z[0]).sd for level in (3, 6, 9)]
    assert widths == sorted(widths, reverse=True)


def test_a_forecast_is_calibrated_on_curves_of_its_own_kind() -> None:
    """Of 400 curves about 5% end below the 5% quantile and 5% above the 95% one."""
    rng = np.random.default_rng(5)
    z = geometric(rng, 460, 0.6) + rng.normal(0, 0.08, (460, len(LADDER))).cumsum(axis=1)
    predictor = predictor_of(z[:60], 6)
    forecasts = [predictor.predict(curve) for curve in z[60:]]
    for quantile in (0.05, 0.5, 0.95):
        share = np.mean([z_t < f.quantile(quantile) for f, z_t in zip(forecasts, z[60:, -1], strict=True)])
        assert share == pytest.approx(quantile, abs=0.1)


@pytest.mark.parametrize(
    ("t", "nu", "probability"),
    [  # Abramowitz and Stegun, table 26.10
        (0.0, 3, 0.5),
        (1.0, 1, 0.75),
        (6.314, 1, 0.95),
        (2.132, 4, 0.95),
        (4.604, 4, 0.995),
        (-2.764, 10, 0.01),
        (2.358, 120, 0.99),
        (math.inf, 4, 1.0),
        (-math.inf, 4, 0.0),
    ],
)
def test_student_agrees_with_the_tables(t: float, nu: int, probability: float) -> None:
    assert student_cdf(t, nu) == pytest.approx(probability, abs=2e-4)


@settings(max_examples=50)
@given(probability=st.floats(0.001, 0.999), nu=st.floats(4, 300))
def test_quantile_and_probability_undo_each_other(probability: float, nu: float) -> None:
    assert student_cdf(student_quantile(probability, nu), nu) == pytest.approx(probability, abs=1e-6)


def test_a_forecast_says_how_likely_it_is_to_end_below() -> None:
    forecast = Forecast(mean=1.0, sd=2.0, nu=4)
    assert forecast.below(1.0) == 0.5
    assert forecast.below(forecast.quantile(0.2)) == pytest.approx(0.2)


@pytest.mark.parametrize("finished", [0, 40])
def test_many_asked_at_once_are_as_far_from_the_goal_as_each_alone(finished: int) -> None:
    rng = np.random.default_rng(5)
    z = geometric(rng, 60, 0.5) + rng.normal(0, 0.02, (60, len(LADDER)))
    predictor = predictor_of(z[:finished], 6, prior=Decay())
    alone = [(-1.0 - f.mean) / f.sd for f in map(predictor.predict, z)]
    assert predictor.distances(z, -1.0) == pytest.approx(alone)


@pytest.mark.parametrize("probability", [1e-30, 1e-12, 1e-4])
def test_the_quantile_of_a_tiny_probability_is_that_of_its_tail(probability: float) -> None:
    assert student_cdf(student_quantile(probability, 9.0), 9.0) == pytest.approx(probability, rel=1e-6)


def test_curves_of_different_lengths_make_a_table_with_gaps() -> None:
    table = LossScale(log=True).table([[1.0], [], [math.e, 1.0]], 3)
    assert table == pytest.approx(np.array([[0, np.nan, np.nan], [np.nan] * 3, [1, 0, np.nan]]), nan_ok=True)
