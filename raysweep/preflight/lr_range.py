"""Reads a range test: between which learning rates the loss falls, and where it falls most steeply.

The curves come from `trainables.lr_range`, one for each seed. They are put on one scale, their median is
taken rate by rate, and smoothed over a third of a decade. The useful interval begins where a tenth of the
whole fall is done, and ends at the lowest point; what comes after it is instability (Smith,
arXiv:1506.01186).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from raysweep.advice.rule import LR, log_range
from raysweep.config import Problem, Sweep, SweepError
from raysweep.launch_command import set_options
from trainables.run_config import RunError

LOWEST, HIGHEST = 1e-6, 10.0
STEPS = 210
"""30 a decade: enough for the loss to follow, few enough for seconds."""

SEEDS = 3
SMOOTHED_DECADES = 1 / 3
BEGUN = 0.1
"""Share of the whole fall after which the loss is said to fall."""

LEAST_FALL = 0.05
"""Share of the loss at the beginning that must be lost; less is chance."""

NOISE_FALL = 4.0
DIVERGED = 4.0
"""Times the loss at the beginning; a curve that stays above it has diverged."""

_HEIGHT = 10


@dataclass(frozen=True, slots=True)
class RangeTest:
    """What a range test says.

    Attributes:
        low: the loss begins to fall here.
        high: it is lowest here.
        steepest: it falls most steeply here: a good first learning rate.
        diverged: rate at which training diverged; None if it did not.
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
        """What to search, rounded outward to one digit: half a decade more at the lower end.

        The test has ten steps at about one rate; a training has hundreds, and gets as far with less.
        """
        low, high = self.low / math.sqrt(10), self.high
        return _rounded(low, math.floor), _rounded(high, math.ceil)

    @property
    def sets(self) -> str:
        """The `--set` that searches what was found."""
        return log_range(LR, *self.bounds)

    def verdict(self) -> list[str]:
        """What was found and what to write, as lines."""
        ends = "" if self.diverged is None else f"; training diverges at {self.diverged:.2g}"
        return [
            f"the loss falls from {self.low:.2g} on, is lowest at {self.high:.2g}{ends}",
            f"it falls most steeply at {self.steepest:.2g}: a good rate to begin with",
            f"search_space: {{optimizer_config: {{lr: {self.sets.partition('=')[2]}}}}}",
            f"or: {set_options([self.sets])}",
        ]

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {**asdict(self), "bounds": list(self.bounds), "set": self.sets}


def lr_range(
    sweep: Sweep, where: str, *, low: float = LOWEST, high: float = HIGHEST, seeds: int = SEEDS
) -> RangeTest:
    """Run the range test of a sweep's own run, and read it.

    Args:
        sweep: its `run` is trained; what it searches is left as the run has it.
        where: the sweep file, for messages.
        low: smallest rate.
        high: largest rate.
        seeds: how many curves.

    Raises:
        SweepError: if no learning rate lowers the loss.
        RunError: if the data cannot be loaded, or the run cannot be built.
    """
    from trainables.lr_range import rate_test  # brings torch
    from trainables.user_errors import load_data, wrap_user_errors

    data, rates = load_data(sweep.run, sweep.import_paths), rising_rates(low, high)
    first = sweep.run.seeds[0]
    with wrap_user_errors("run"):
        curves = [rate_test(sweep.run, data, rates, seed=first + number) for number in range(seeds)]
    return read_curves(rates, curves, where)


def run_range_test(
    sweep: Sweep, where: str, *, low: float, high: float, seeds: int
) -> RangeTest | tuple[Problem, ...]:
    """`lr_range` for whoever runs it in another process: what is wrong is an answer, too."""
    try:
        return lr_range(sweep, where, low=low, high=high, seeds=seeds)
    except SweepError as error:
        return error.problems
    except RunError as error:
        return (Problem(where, None, "run", str(error)),)


def rising_rates(low: float = LOWEST, high: float = HIGHEST, steps: int = STEPS) -> list[float]:
    """Learning rates from low to high, each the same factor above the last.

    >>> [round(rate, 3) for rate in rising_rates(0.01, 1, 3)]
    [0.01, 0.1, 1.0]
    """
    return [float(rate) for rate in np.geomspace(low, high, steps)]


def read_curves(rates: Sequence[float], curves: Sequence[Sequence[float]], where: str) -> RangeTest:
    """Find the useful interval.

    Args:
        rates: rising.
        curves: the loss at each of them, a curve a seed; shorter where that one diverged.
        where: the sweep file, for messages.

    Raises:
        SweepError: if the loss does not fall more than it trembles.
    """
    width = max(1, round(SMOOTHED_DECADES * len(rates) / math.log10(rates[-1] / rates[0])))
    scaled = [_scaled(curve, width) for curve in curves]
    length = int(np.median([len(curve) for curve in scaled]))  # one seed's bad luck is not the optimizer's
    padded = [
        np.concatenate([curve, np.full(max(0, length - len(curve)), np.inf)])[:length] for curve in scaled
    ]
    if length < 3 * width:
        raise _hopeless(where, f"training diverges at {rates[max(0, length - 1)]:.2g} already")
    middle = np.median(padded, axis=0)
    smooth = _smoothed(middle, width)
    lowest = int(np.argmin(smooth))
    fall = 1.0 - smooth[lowest]
    tremble = float(np.median(np.abs(middle - smooth)[np.isfinite(middle)]))
    if fall < max(LEAST_FALL, NOISE_FALL * tremble):
        raise _hopeless(
            where, f"no learning rate from {rates[0]:.2g} to {rates[length - 1]:.2g} lowers the loss"
        )
    begun = np.flatnonzero(smooth[: lowest + 1] > 1.0 - BEGUN * fall)
    first = int(begun[-1]) + 1 if len(begun) else 0
    slope = np.gradient(smooth[: lowest + 1]) if lowest else np.zeros(1)
    steepest = first + int(np.argmin(slope[first : lowest + 1]))
    diverged = rates[length] if length < len(rates) else None
    kept = tuple(map(float, smooth))
    return RangeTest(rates[first], rates[lowest], rates[steepest], diverged, tuple(rates[:length]), kept)


def plot(test: RangeTest, width: int = 64) -> list[str]:
    """The curve as lines of text: `#` where it is useful, `.` elsewhere, `|` at the steepest point."""
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
    """A curve relative to its own beginning, up to where it diverges for good."""
    values = np.asarray(curve, dtype=np.float64)
    if len(values) == 0:
        return values
    level = float(np.median(values[:width]))
    values = values / (level if level > 0 else 1.0)
    above = values > DIVERGED
    stays = np.flatnonzero(~above)  # after the last point below, it never comes back
    return values[: int(stays[-1]) + 1] if len(stays) else values[:0]


def _smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Median over a window, which no spike moves, then its mean; the ends see half a window."""

    def over(function: Callable[[np.ndarray], Any], data: np.ndarray) -> np.ndarray:
        half = width // 2
        windows = (data[max(0, place - half) : place + half + 1] for place in range(len(data)))
        return np.array([function(window) for window in windows])

    return over(np.mean, over(np.median, values))


def _hopeless(where: str, what: str) -> SweepError:
    fix = "look at the data's scale, the net and the optimizer first"
    return SweepError([Problem(where, None, "run.optimizer_config.lr", what, fix)])


def _rounded(value: float, direction: Callable[[float], int]) -> float:
    """One significant digit, up or down.

    >>> _rounded(0.00123, math.ceil), _rounded(0.00123, math.floor)
    (0.002, 0.001)
    """
    power = 10.0 ** math.floor(math.log10(value))
    return float(f"{direction(round(value / power, 6)) * power:.1g}")
