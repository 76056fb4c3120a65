"""Domains of searched parameters: a float, an integer, or one of a few choices.

The values that `sample`, `perturb` and `from_unit` return always lie in the domain. Ranges are
inclusive at both ends. Nothing here draws from a global generator.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

import numpy as np

from schedulers.errors import InvalidSetting

FACTORS = (0.8, 1.2)  # PBT's multipliers (Jaderberg et al. 2017, arXiv:1711.09846, appendix A)

Number = TypeVar("Number", int, float)


class _Range(ABC, Generic[Number]):
    """What ranges of real and of whole numbers have in common."""

    __slots__ = ()
    low: Number
    high: Number
    log: bool
    step: Number | None

    @abstractmethod
    def from_unit(self, unit: float) -> Number:
        """The value at `unit`, the inverse of `to_unit`."""

    @abstractmethod
    def _snap(self, value: float) -> Number:
        """The nearest value of the range."""

    def sample(self, rng: np.random.Generator) -> Number:
        """Draw one value, evenly over the unit interval: whole numbers with equal chances, unless `log`."""
        return self.from_unit(float(rng.random()))

    def perturb(self, value: Any, rng: np.random.Generator, factors: Sequence[float] = FACTORS) -> Number:
        """Multiply by one of `factors` and clip to the range; with a step, move by at least one step."""
        start = self._snap(float(value))
        factor = float(factors[int(rng.integers(len(factors)))])
        moved = self._snap(start * factor)
        if self.step is None or moved != start:
            return moved
        # 2 x 1.2 rounds to 2 again: without this, small integers would never be explored.
        upwards = (factor > 1) == (start >= 0)
        return self._snap(start + (self.step if upwards else -self.step))

    def to_unit(self, value: Any) -> float:
        """Position of `value` between low (0.0) and high (1.0), on the log scale if `log`."""
        at: float = float(value)
        low: float = self.low
        high: float = self.high
        if self.log:
            at, low, high = math.log(max(at, low)), math.log(low), math.log(high)
        if low == high:  # neighbouring floats may have the same logarithm
            return 0.0
        return min(max((at - low) / (high - low), 0.0), 1.0)

    def _between(self, unit: float, low: float, high: float) -> float:
        if self.log:
            return math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
        return low + unit * (high - low)

    def _check_ends(self) -> None:
        if self.low > self.high:
            raise InvalidSetting("min", f"min ({self.low}) exceeds max ({self.high})", "swap them")
        if self.log and self.low <= 0:
            raise InvalidSetting("min", f"a log range needs min > 0, not {self.low}", "raise min or drop log")


@dataclass(frozen=True, slots=True)
class Float(_Range[float]):
    """A real number in [low, high].

    Args:
        low: smallest value.
        high: largest value.
        log: spread evenly on the logarithmic scale.
        step: only low, low + step, low + 2 step, ... are values.

    Raises:
        ValueError: for an empty, non-finite or (log) non-positive range, or a step that does not fit.

    >>> Float(1e-3, 1.0, log=True).from_unit(0.5)
    0.0316227...
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise InvalidSetting("", f"a float's range must be finite, not [{self.low}, {self.high}]")
        self._check_ends()
        if self.step is not None and not (math.isfinite(self.step) and self.step > 0):
            raise InvalidSetting("step", f"step must be a positive number, not {self.step}")
        if self.log and self.step is not None:
            raise InvalidSetting("step", "a log range has no step", "drop one of the two")

    def contains(self, value: Any) -> bool:
        """Whether `value` is a finite number of this range (and on its grid, if it has a step)."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        if not self.low <= value <= self.high:
            return False
        return self.step is None or math.isclose(self._snap(value), value, rel_tol=1e-9, abs_tol=1e-12)

    def from_unit(self, unit: float) -> float:
        """The value at `unit`, the inverse of `to_unit`; on the grid if there is a step."""
        if self.step is not None:
            cells = self._cells() + 1
            return self._snap(self.low + min(int(unit * cells), cells - 1) * self.step)
        return self._snap(self._between(unit, self.low, self.high))

    def points(self) -> tuple[float, ...]:
        """The values of a range with a step, as the decimals written: 0.3, not 0.30000000000000004.

        >>> Float(0.1, 0.35, step=0.1).points()
        (0.1, 0.2, 0.3)
        """
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step))
        return tuple(float(low + index * step) for index in range(int((high - low) // step) + 1))

    def _cells(self) -> int:
        # 1e-9: (0.3 - 0.1) / 0.1 is 1.9999...8 in floating point, and means 2.
        return int((self.high - self.low) / (self.step or 1.0) + 1e-9)

    def _snap(self, value: float) -> float:
        if self.step is not None:
            cell = min(max(round((value - self.low) / self.step), 0), self._cells())
            value = self.low + cell * self.step
        return min(max(value, self.low), self.high)


@dataclass(frozen=True, slots=True)
class Int(_Range[int]):
    """A whole number in [low, high].

    Args:
        low: smallest value.
        high: upper bound; a value only if `step` reaches it.
        log: spread evenly on the logarithmic scale.
        step: only low, low + step, low + 2 step, ... are values.

    Raises:
        ValueError: for an empty or (log) non-positive range, a number that is not whole, a step below 1.

    >>> Int(3, 6).from_unit(1.0)
    6
    """

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        for name, number in (("min", self.low), ("max", self.high), ("step", self.step)):
            if isinstance(number, bool) or not isinstance(number, int):
                raise InvalidSetting(name, f"an int's {name} must be a whole number, not {number!r}")
        self._check_ends()
        if self.step < 1:
            raise InvalidSetting("step", f"step must be at least 1, not {self.step}")
        if self.log and self.step != 1:
            raise InvalidSetting("step", "a log range has no step", "drop one of the two")

    def contains(self, value: Any) -> bool:
        """Whether `value` is a whole number of this range, on its grid."""
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0

    def from_unit(self, unit: float) -> int:
        """The value at `unit`; each value has its own part of the unit interval."""
        if self.log:
            # From low - 1/2 to high + 1/2, so that the two ends have whole parts too.
            return self._snap(self._between(unit, self.low - 0.5, self.high + 0.5))
        cells = (self.high - self.low) // self.step + 1
        return self.low + min(max(int(unit * cells), 0), cells - 1) * self.step

    def _snap(self, value: float) -> int:
        cells = (self.high - self.low) // self.step
        return self.low + min(max(round((value - self.low) / self.step), 0), cells) * self.step


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of `choices`.

    Args:
        choices: at least one value of any JSON type, None and lists included.
        ordered: neighbours are alike (32, 64, 128), so perturbing moves to a neighbour.

    Raises:
        ValueError: without a choice, or with the same choice twice.

    >>> Categorical(("relu", "tanh")).to_unit("tanh")
    1.0
    """

    choices: tuple[Any, ...]
    ordered: bool = False

    def __post_init__(self) -> None:
        if not self.choices:
            raise InvalidSetting("choices", "a categorical parameter needs at least one choice")
        for index, choice in enumerate(self.choices):
            if any(_same(choice, other) for other in self.choices[:index]):
                raise InvalidSetting("choices", f"the choice {choice!r} is given twice")

    def contains(self, value: Any) -> bool:
        """Whether `value` is one of the choices (True and 1 are different choices)."""
        return any(_same(value, choice) for choice in self.choices)

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw one choice, all equally likely."""
        return self.choices[int(rng.integers(len(self.choices)))]

    def perturb(self, value: Any, rng: np.random.Generator, factors: Sequence[float] = FACTORS) -> Any:
        """Move to a neighbour (ordered) or to any other choice; a value that is no choice is drawn anew.

        `factors` is unused: all domains have this signature.
        """
        if len(self.choices) == 1 or not self.contains(value):
            return self.sample(rng)
        index = self._index(value)
        others = (
            [index - 1, index + 1] if self.ordered else [*range(index), *range(index + 1, len(self.choices))]
        )
        return self.choices[int(rng.choice([n for n in others if 0 <= n < len(self.choices)]))]

    def to_unit(self, value: Any) -> float:
        """Position among the choices: 0.0 is the first and 1.0 the last."""
        return self._index(value) / max(len(self.choices) - 1, 1)

    def from_unit(self, unit: float) -> Any:
        """The choice at `unit`; each choice has an equal part of the unit interval."""
        return self.choices[min(max(int(unit * len(self.choices)), 0), len(self.choices) - 1)]

    def _index(self, value: Any) -> int:
        for index, choice in enumerate(self.choices):
            if _same(value, choice):
                return index
        raise ValueError(f"{value!r} is none of the choices {list(self.choices)}")


Domain = Float | Int | Categorical


def _same(one: Any, other: Any) -> bool:
    """Whether type and value are equal: in a sweep file `1`, `1.0` and `true` are three choices."""
    return type(one) is type(other) and bool(one == other)
