"""Evaluates a range test: between which learning rates the loss falls, and where it falls most steeply.

The curves come from `trainables.lr_range`, one for each seed. They are put on one scale, and their median at
each rate is smoothed over a third of a decade. The useful interval begins where a tenth of the whole fall is
done, and ends at the lowest point; beyond that training is unstable (Smith, arXiv:1506.01186).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from raysweep.advice.rule import log_range
from raysweep.config import Problem, Sweep, SweepError
from raysweep.config.stage import LR
from raysweep.launch_command import set_options
from trainables.run_config import RunError

LOWEST, HIGHEST = 1e-6, 10.0
STEPS = 210
"""30 a decade: enough for the loss to follow, few enough to take seconds."""

SEEDS = 3
SMOOTHED_DECADES = 1 / 3
BEGUN = 0.1
"""Share of the whole fall at which the useful interval begins."""

LEAST_FALL = 0.05
"""A fall by less than this share of the loss at the beginning counts as chance."""

NOISE_FALL = 4.0
"""So does a fall by less than this multiple of the curve's noise."""

DIVERGED = 4.0
"""A curve that stays above this multiple of the loss at the beginning has diverged."""

_HEIGHT = 10


@dataclass(frozen=True, slots=True)
class RangeTest:
    """The result of a range test.

    Attributes:
        low: learning rate at which the loss begins to fall.
        high: at which it is lowest.
        steepest: at which it falls most steeply, a good first learning rate.
        diverged: at which training diverged; None if it did not.
        rates: of the curve.
        losses: the smoothed curve, 1 at its beginning.
    """

    low: float
    high: float
    steepest: float
    diverged: float | None
    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def bounds(self) -> tuple[float, float]:
        """The range to search, rounded outward to one digit, with half a decade more at the lower end.

        The test takes ten steps at about one rate; a training takes hundreds, so lower rates work too.
        """
        low, high = self.low / math.sqrt(10), self.high
        return _rounded(low, math.floor), _rounded(high, math.ceil)

    @property
    def sets(self) -> str:
        """The `--set` that searches `bounds`."""
        return log_range(LR, *self.bounds)

    def verdict(self) -> list[str]:
        """The result, and what to write into the sweep file, as lines."""
        ends = "" if self.diverged is None else f"; training diverges at {self.diverged:.2g}"
        return [
            f"the loss falls from {self.low:.2g} on, is lowest at {self.high:.2g}{ends}",
            f"it falls most steeply at {self.steepest:.2g}, a good learning rate to begin with",
            f"search_space: {{optimizer_config: {{lr: {self.sets.partition('=')[2]}}}}}",
            f"or: {set_options([self.sets])}",
        ]

    def as_json(self) -> dict[str, Any]:
        """The result as JSON-serializable fields."""
        return {**asdict(self), "bounds": list(self.bounds), "set": self.sets}


def lr_range(
    sweep: Sweep, where: str, *, low: float = LOWEST, high: float = HIGHEST, seeds: int = SEEDS
) -> RangeTest:
    """Run the range test of a sweep's own run, and evaluate it.

    Args:
        sweep: its `run` is trained; searched parameters stay as the run has them.
        where: the sweep file, for messages.
        low: smallest rate.
        high: largest rate.
        seeds: how many curves.

    Raises:
        SweepError: if no learning rate lowers the loss.
        RunError: if the data cannot be loaded, or the run cannot be built.
    """
    from trainables.lr_range import rate_test  # imports torch
    from trainables.user_errors import load_data, wrap_user_errors

    data, rates = load_data(sweep.run, sweep.import_paths), rising_rates(low, high)
    first = sweep.run.seeds[0]
    with wrap_user_errors("run"):
        curves = [rate_test(sweep.run, data, rates, seed=first + number) for number in range(seeds)]
    return read_curves(rates, curves, where)


def run_range_test(
    sweep: Sweep, where: str, *, low: float, high: float, seeds: int
) -> RangeTest | tuple[Problem, ...]:
    """As `lr_range`, for use in another process: problems are returned, not raised."""
    try:
        return lr_range(sweep, where, low=low, high=high, seeds=seeds)
    except SweepError as error:
        return error.problems
    except RunError as error:
        return (Problem(where, None, "run", str(error)),)


def rising_rates(low: float = LOWEST, high: float = HIGHEST, steps: int = STEPS) -> list[float]:
    """Learning rates from low to high, evenly spaced on a log scale.

    >>> [round(rate, 3) for rate in rising_rates(0.01, 1, 3)]
    [0.01, 0.1, 1.0]
    """
    return [float(rate) for rate in np.geomspace(low, high, steps)]


def read_curves(rates: Sequence[float], curves: Sequence[Sequence[float]], where: str) -> RangeTest:
    """Find the useful interval of learning rates.

    Args:
        rates: rising.
        curves: for each seed, the loss at each rate; shorter if that training diverged.
        where: the sweep file, for messages.

    Raises:
        SweepError: if the loss does not fall by more than its noise.
    """
    width = max(1, round(SMOOTHED_DECADES * len(rates) / math.log10(rates[-1] / rates[0])))
    scaled = [_scaled(curve, width) for curve in curves]
    length = int(np.median([len(curve) for curve in scaled]))  # one seed that diverges early does not decide
    padded = [
        np.concatenate([curve, np.full(max(0, length - len(curve)), np.inf)])[:length] for curve in scaled
    ]
    if length < 3 * width:
        raise _hopeless(where, f"training diverges at {rates[max(0, length - 1)]:.2g} already")
    middle = np.median(padded, axis=0)
    smooth = _smoothed(middle, width)
    lowest = int(np.argmin(smooth))
    fall = 1.0 - smooth[lowest]
    noise = float(np.median(np.abs(middle - smooth)[np.isfinite(middle)]))
    if fall < max(LEAST_FALL, NOISE_FALL * noise):
        raise _hopeless(
            where, f"no learning rate from {rates[0]:.2g} to {rates[length - 1]:.2g} lowers the loss"
        )
    above = np.flatnonzero(smooth[: lowest + 1] > 1.0 - BEGUN * fall)
    first = int(above[-1]) + 1 if len(above) else 0
    slope = np.gradient(smooth[: lowest + 1]) if lowest else np.zeros(1)
    steepest = first + int(np.argmin(slope[first : lowest + 1]))
    diverged = rates[length] if length < len(rates) else None
    losses = tuple(map(float, smooth))
    return RangeTest(rates[first], rates[lowest], rates[steepest], diverged, tuple(rates[:length]), losses)


def plot(test: RangeTest, width: int = 64) -> list[str]:
    """The curve as lines of text: `#` in the useful interval, `.` elsewhere, `|` at the steepest point."""
    columns = np.linspace(0, len(test.rates) - 1, min(width, len(test.rates))).astype(int)
    top, bottom = min(max(test.losses), 1.5), min(test.losses)
    scale = (_HEIGHT - 1) / max(top - bottom, 1e-12)
    rows = [round((top - min(test.losses[column], top)) * scale) for column in columns]
    marks = ["#" if test.low <= test.rates[column] <= test.high else "." for column in columns]
    at = int(np.argmin([abs(math.log(test.rates[column] / test.steepest)) for column in columns]))
    marks[at] = "|"
    lines = [
        "".join(mark if row == line else " " for row, mark in zip(rows, marks, strict=True))
        for line in range(_HEIGHT)
    ]
    ends = f"{test.rates[0]:.0e}", f"{test.rates[-1]:.0e}"
    return [*(line.rstrip() for line in lines), ends[0] + ends[1].rjust(len(columns) - len(ends[0]))]


def _scaled(curve: Sequence[float], width: int) -> np.ndarray:
    """A curve relative to its own beginning, cut where it finally diverges."""
    values = np.asarray(curve, dtype=np.float64)
    if len(values) == 0:
        return values
    level = float(np.median(values[:width]))
    values = values / (level if level > 0 else 1.0)
    below = np.flatnonzero(~(values > DIVERGED))  # NaN counts as below
    return values[: int(below[-1]) + 1] if len(below) else values[:0]


def _smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """The median over a window, robust against spikes, then the mean; half windows at the ends."""

    def over(function: Callable[[np.ndarray], Any], data: np.ndarray) -> np.ndarray:
        half = width // 2
        windows = (data[max(0, index - half) : index + half + 1] for index in range(len(data)))
        return np.array([function(window) for window in windows])

    return over(np.mean, over(np.median, values))


def _hopeless(where: str, what: str) -> SweepError:
    fix = "check the data's scale, the net and the optimizer first"
    return SweepError([Problem(where, None, "run.optimizer_config.lr", what, fix)])


def _rounded(value: float, direction: Callable[[float], int]) -> float:
    """The value rounded up or down to one significant digit.

    >>> _rounded(0.00123, math.ceil), _rounded(0.00123, math.floor)
    (0.002, 0.001)
    """
    power = 10.0 ** math.floor(math.log10(value))
    return float(f"{direction(round(value / power, 6)) * power:.1g}")
