"""How a range test is read: the useful learning rates, without the noise around them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import launch
from raysweep.advice.ranges import USEFUL_LR
from raysweep.config import SweepError, read_sweep
from raysweep.preflight.lr_range import lr_range, plot, read_curves, rising_rates
from tests.sound_sweep import WELL

RATES = rising_rates()
LOGS = np.log10(RATES)


def curve(begins: float = -4, lowest: float = -2, *, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """1 at first; falls to 0.3 between two logs of rates; then rises tenfold within a decade."""
    down = np.clip((LOGS - begins) / (lowest - begins), 0, 1)
    up = np.clip(LOGS - lowest - 0.5, 0, 2)
    trembling = np.random.default_rng(seed).normal(1, noise, len(LOGS)) if noise else 1.0
    return (1 - 0.7 * down) * 10**up * trembling


def spiked(height: float) -> np.ndarray:
    values = curve()
    values[12] *= height
    return values


CURVES = {
    "clean": [curve()],
    "three seeds": [curve(), curve() * 1.3, curve() * 0.5],
    "noise of 3%": [curve(noise=0.03, seed=seed) for seed in range(3)],
    "noise of 8%": [curve(noise=0.08, seed=seed) for seed in range(5)],
    "an early spike": [spiked(50)],
    "an early fall for a moment": [spiked(0.01)],
    "an early spike in one of three": [curve(), spiked(1e6), curve()],
    "one of three seeds diverges early": [curve(), curve()[:40], curve()],
    "all diverge late": [curve()[:170], curve()[:175], curve()[:180]],
    "weights that start elsewhere": [curve() * 4.0, curve(), curve() * 0.01],
}


@pytest.mark.parametrize("name", CURVES)
def test_the_fall_is_found_whatever_is_around_it(name: str) -> None:
    """It falls from 1e-4 to 1e-2, a tenth of that by 1.6e-4; then it stays low for half a decade."""
    range_test = read_curves(RATES, CURVES[name], "x.yaml")  # type: ignore[arg-type]
    assert abs(math.log10(range_test.low) - -3.8) < 0.35
    assert -2.3 < math.log10(range_test.high) < -1.4
    assert range_test.low < range_test.steepest < range_test.high


def test_what_is_searched_is_rounded_outward_with_half_a_decade_below() -> None:
    range_test = read_curves(RATES, [curve()], "x.yaml")  # type: ignore[list-item]
    low, high = range_test.bounds
    assert low <= range_test.low / math.sqrt(10) < 2 * low
    assert high / 2 < range_test.high <= high
    assert range_test.sets == (
        f"search_space.optimizer_config.lr={{type: float, min: {low:g}, max: {high:g}, log: true}}"
    )


def test_where_training_diverges_is_reported() -> None:
    range_test = read_curves(RATES, [curve()[:170]] * 3, "x.yaml")  # type: ignore[list-item]
    assert range_test.diverged is not None
    assert RATES[150] < range_test.diverged <= RATES[170]


@given(factor=st.floats(1e-6, 1e6))
def test_the_losss_unit_does_not_matter(factor: float) -> None:
    plain, scaled = (read_curves(RATES, [curve() * unit], "x.yaml") for unit in (1.0, factor))  # type: ignore[list-item]
    assert scaled.bounds == plain.bounds


@pytest.mark.parametrize(
    ("curves", "sentence"),
    [
        ([np.ones(len(LOGS))], "no learning rate from 1e-06 to 10 lowers the loss"),
        ([np.random.default_rng(seed).normal(1, 0.05, len(LOGS)) for seed in range(3)], "lowers the loss"),
        ([np.clip(10 ** (LOGS + 5), 1, None)], "lowers the loss"),
        ([curve()[:6]] * 3, "training diverges at 1.5e-06 already"),
        ([[]], "training diverges at 1e-06 already"),
    ],
)
def test_a_curve_that_never_falls_is_an_error(curves: list[Any], sentence: str) -> None:
    with pytest.raises(SweepError, match=sentence):
        read_curves(RATES, curves, "x.yaml")


def test_the_plot_marks_what_is_useful() -> None:
    range_test = read_curves(RATES, [curve()], "x.yaml")  # type: ignore[list-item]
    *rows, ends = plot(range_test)
    drawn = "".join(rows)
    assert drawn.count("|") == 1
    assert drawn.count("#") > 5
    assert (ends[:5], ends[-5:]) == ("1e-06", f"{range_test.rates[-1]:.0e}")


@pytest.mark.parametrize("optimizer", ["torch.optim.AdamW", "torch.optim.SGD", "pytorch_optimizer.SPlus"])
def test_digits_are_learnt_where_the_optimizer_is_known_to_work(optimizer: str, tmp_path: Path) -> None:
    """SPlus a hundred times higher than AdamW, in spite of its averaged weights."""
    file = tmp_path / "digits.yaml"
    file.write_text(WELL)
    sets = [f"run.optimizer={optimizer}", "search_space.optimizer_config.lr={type: float, min: 1e-4, max: 1}"]
    sweep = read_sweep(file, overrides=sets).sweep
    range_test = lr_range(sweep, "digits.yaml", seeds=1)
    region = USEFUL_LR[optimizer.rpartition(".")[2]]
    assert region.low / 3 <= range_test.steepest <= region.high
    assert range_test.bounds[0] < range_test.steepest < range_test.bounds[1]


def test_the_command_prints_what_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("well.yaml").write_text(WELL)
    assert launch.main(["lr-range", "well.yaml", "--seeds", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert launch.main(["check", "--strict", "well.yaml", "--set", result["set"]]) == 0
    assert (
        read_sweep("well.yaml", overrides=[result["set"]]).sweep.space["optimizer_config.lr"].low
        == (result["bounds"][0])
    )


def test_too_little_space_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "well.yaml"
    file.write_text(WELL)
    assert launch.main(["lr-range", str(file), "--low", "1", "--high", "9"]) == 2
    assert capsys.readouterr().err == "launch.py: --high (9) must be at least ten times --low (1)\n"
