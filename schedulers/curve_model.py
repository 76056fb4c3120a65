"""Learning-curve prediction with its uncertainty: the mathematics of the predictive PFL rule.

A *ladder* is the list of epochs at which curves are sampled, about a factor sqrt(2) apart; a *level* is
an index into it. z is the loss on the scale on which curves are alike: its logarithm, or, where losses
can be zero or negative, the loss itself in units of the spread of losses. D = log2(T / e) is the number
of doublings between epoch e and the last epoch, T.

The model: z_T = z_e + p + x'b + noise, where p is the remaining drop if every doubling gains rho times
the one before it (rho pooled over all curves), and the correction x'b is a ridge regression over the
sweep's own finished trials; its predictive distribution is a Student-t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RHO = 0.4  # prior of rho: a doubling's gain as a share of the gain of the one before it
RHO_WEIGHT = 6.0  # weight of that prior, in observations of typical size
TAU = 0.25  # prior spread of a doubling's gain, in units of z
PRIOR_WEIGHT = 4.0  # weight of that prior, in observations
RIDGE = (0.5, 2.0, 2.0, 2.0)  # penalties of the intercept, the last slope, the slope before it, z itself
FLOOR = 0.05  # c0: noise per sqrt(doubling) of a flat curve
LIMIT = 1e6  # |z| on the raw scale is clipped to this, so that no square overflows
CROSSED = 0.35  # prior share of pairs of trials that change order before the end
PAIRS = 10.0  # weight of that prior, in pairs
ENOUGH = 3  # fewest finished trials from which a correction is learnt; with fewer the prior is used alone


def ladder(max_resource: int) -> list[int]:
    """Epochs at which curves are sampled: 1, 2, 3, 4, 6, 8, 11, 16, … and T itself.

    Two levels are about one doubling apart, so a slope per doubling spans two levels.

    >>> ladder(50)
    [1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 50]
    >>> ladder(10)
    [1, 2, 3, 4, 6, 8, 10]
    """
    levels: list[int] = []
    half_doublings = 0
    while (level := round(2 ** (half_doublings / 2))) < max_resource:
        if not levels or level > levels[-1]:
            levels.append(level)
        half_doublings += 1
    return [*levels, max_resource]


@dataclass(frozen=True, slots=True)
class LossScale:
    """The conversion between losses and z.

    Attributes:
        log: z = ln loss; else z = loss / unit.
        unit: unit of the raw scale, > 0: the spread of the losses, so that z is of order one there too.
    """

    log: bool
    unit: float = 1.0

    @classmethod
    def of(cls, losses: Sequence[float], positive: bool) -> LossScale:
        """The logarithmic scale if every loss of the sweep is `positive`, else the raw scale.

        The unit is the median distance from the median, which is robust to outliers.
        """
        if positive:
            return cls(log=True)
        values = np.asarray(losses, dtype=np.float64)
        spread = float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0
        return cls(log=False, unit=spread if spread > 0 else 1.0)

    def z(self, losses: Sequence[float]) -> Array:
        """Losses -> z, (n,)."""
        values = np.asarray(losses, dtype=np.float64)
        return np.log(values) if self.log else np.clip(values / self.unit, -LIMIT, LIMIT)

    def loss(self, z: float) -> float:
        """The loss for z; infinite where a float cannot hold it."""
        if not self.log:
            return z * self.unit
        return math.exp(z) if z < 700 else math.inf

    def table(self, curves: Sequence[Sequence[float]], levels: int) -> Array:
        """Curves of different lengths -> z, (n, levels); NaN at levels a curve has not reached."""
        z = np.full((len(curves), levels), np.nan)
        lengths = np.array([len(curve) for curve in curves], dtype=int)
        z[np.arange(levels) < lengths[:, None]] = self.z([*chain.from_iterable(curves)])
        return z


class Decay(NamedTuple):
    """Pooled over all curves: a doubling gains rho times the one before it, with variance tau2."""

    rho: float = RHO
    tau2: float = TAU**2

    def gain(self, doublings: float) -> float:
        """G: the gain of the doublings left, rho + rho² + …, in units of the last doubling's.

        >>> Decay(0.5).gain(2)
        0.75
        """
        if abs(self.rho - 1) < 1e-6:
            return doublings
        return self.rho * (1 - math.pow(self.rho, doublings)) / (1 - self.rho)

    def variance(self, doublings: float) -> float:
        """v0: variance of the remaining drop; an error in one doubling carries over to the later ones."""
        return self.tau2 * doublings * (1 + doublings / 2) / 2


def slopes(z: Array, epochs: Sequence[int], level: int) -> Array:
    """Change of z per doubling over the two levels up to `level`, (n,); zero at the first level.

    Args:
        z: (n, levels), filled up to `level`.
        epochs: the ladder.
        level: index into the ladder.
    """
    before = max(level - 2, 0)
    if level == 0:
        return np.zeros(len(z))
    change: Array = z[:, level] - z[:, before]
    return change / math.log2(epochs[level] / epochs[before])


def decay(z: Array, epochs: Sequence[int]) -> Decay:
    """Pool rho and tau² over all curves: one doubling's gain against that of the one before it.

    Both sides are clipped at three times their median size, so that outliers do not dominate; rho is a
    ridge estimate towards `RHO`, within [0, 1.1].

    Args:
        z: (n, levels); NaN at levels a curve has not reached.
        epochs: the ladder.
    """
    levels = range(4, len(epochs) - 1)  # without the last, which may be less than half a doubling on
    if not levels or not len(z):
        return Decay()
    x = np.concatenate([slopes(z, epochs, level - 2) for level in levels])
    y = np.concatenate([slopes(z, epochs, level) for level in levels])
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = _clip(x[finite], 3.0), _clip(y[finite], 3.0)
    size = float(np.mean(x * x)) if len(x) else 0.0
    if size == 0.0:
        return Decay()
    xx, xy = float(np.sum(x * x)) / size, float(np.sum(x * y)) / size
    rho = min(max((xy + RHO_WEIGHT * RHO) / (xx + RHO_WEIGHT), 0.0), 1.1)
    residual = y - rho * x
    tau2 = (float(np.sum(residual * residual)) + PRIOR_WEIGHT * TAU**2) / (len(x) + PRIOR_WEIGHT)
    return Decay(rho, tau2)


def _clip(values: Array, times: float, middle: float = 0.0) -> Array:
    """Clip values to within so many times their median distance from the middle."""
    bound = times * float(np.median(np.abs(values - middle))) if len(values) else 0.0
    return np.clip(values, middle - bound, middle + bound) if bound > 0 else values


def features(z: Array, epochs: Sequence[int], level: int) -> Array:
    """Inputs of the correction: the last slope, the slope before it, z itself; (n, 3)."""
    last, before = slopes(z, epochs, level), slopes(z, epochs, max(level - 2, 0))
    return np.stack([last, before, z[:, level]], axis=1)


def spreads(z: Array, epochs: Sequence[int]) -> list[list[float]]:
    """Spread of each feature over all curves that reached a level: levels x 3, each > 0.

    The distance from the 10% to the 90% quantile, scaled to a standard deviation of a normal, which is
    robust to outliers. Finished curves alone are too much alike: in their units all others would lie far
    outside, and a correction learnt from them would not carry over.
    """
    scales = []
    for level in range(len(epochs)):
        raw = features(z[np.isfinite(z[:, level])], epochs, level)
        low, high = np.quantile(raw, [0.1, 0.9], axis=0) if len(raw) else np.zeros((2, 3))
        width = high - low
        scales.append([float(one) / 2.56 if one > 1e-9 else 1.0 for one in width])
    return scales


def crossing(finished: Sequence[Sequence[float]]) -> list[float]:
    """Share of pairs of finished curves whose order at a level differs from that at the end, per level.

    Includes the prior, `PAIRS` pairs of which the share `CROSSED` changed order. Equal losses count half.

    >>> [round(share, 2) for share in crossing([[1, 3, 1], [2, 2, 2], [3, 1, 3]])]
    [0.27, 0.5, 0.27]
    """
    z = np.asarray(finished, dtype=np.float64)
    ends = np.sign(z[:, None, -1] - z[None, :, -1])
    above = np.triu(np.ones(ends.shape, dtype=bool), 1)
    pairs = float(above.sum())
    shares = []
    for level in range(z.shape[1]):
        agree = (np.sign(z[:, None, level] - z[None, :, level]) * ends)[above]
        crossed = float(np.sum(agree < 0)) + 0.5 * float(np.sum(agree == 0))
        shares.append((crossed + PAIRS * CROSSED) / (pairs + PAIRS))
    return shares


@dataclass(frozen=True, slots=True)
class Forecast:
    """A Student-t over z_T: location `mean`, scale `sd`, `nu` degrees of freedom."""

    mean: float
    sd: float
    nu: float

    def below(self, z: float) -> float:
        """Probability that z_T < z."""
        return student_cdf((z - self.mean) / self.sd, self.nu)

    def quantile(self, probability: float) -> float:
        """The z below which z_T lies with this probability, in (0, 1)."""
        return self.mean + self.sd * student_quantile(probability, self.nu)


class Predictor:
    """Predicts z_T of curves known up to one level, from the finished curves of the same sweep.

    Args:
        finished: z of finished curves, (n, levels), no NaN; the last column is z_T. Fewer than
            `ENOUGH` are ignored.
        prior: the pooled decay.
        epochs: the ladder.
        level: index into the ladder at which to predict; not the last.
        spread: spread of the features over all the sweep's curves at this level, (3,); see `spreads`.
    """

    def __init__(
        self, finished: Array, prior: Decay, epochs: Sequence[int], level: int, spread: Sequence[float]
    ) -> None:
        self.epochs, self.level, self.prior = epochs, level, prior
        self.doublings = math.log2(epochs[-1] / epochs[level])
        if len(finished) < ENOUGH:
            finished = finished[:0]
        raw = features(finished, epochs, level)
        n = len(raw)
        self.centre = raw.mean(axis=0) if n else np.zeros(raw.shape[1])
        self.spread = np.asarray(spread)
        noise = self._noise(finished)
        # Scaled to a geometric mean of one, so that s² is the variance of a typical row.
        self.unit = math.exp(float(np.mean(np.log(noise)))) if n else 1.0
        noise = noise / self.unit
        left = finished[:, -1] - finished[:, level] - self._drop(finished)
        y = _clip(left, 4.0, float(np.median(left)) if n else 0.0) / noise
        x = self._rows(raw) / noise[:, None]
        rank = np.argsort(np.argsort(finished[:, -1], kind="stable"), kind="stable")
        # The best trials weigh most: a trial is compared with them.
        weight = 0.3 + 0.7 * np.exp(-rank / max(5.0, 0.35 * n))
        self.inverse = np.linalg.inv((x * weight[:, None]).T @ x + np.diag(RIDGE))
        self.coefficients = self.inverse @ (x.T @ (weight * y))
        leverage = weight * np.einsum("ij,jk,ik->i", x, self.inverse, x)
        left_out = (y - x @ self.coefficients) / np.maximum(1 - leverage, 0.05)
        total = float(np.sum(np.sort(weight)))  # independent of the order of arrival
        v0 = prior.variance(self.doublings)
        residual = float(np.sum(weight * left_out**2))
        self.s2 = (residual + v0) / (total + PRIOR_WEIGHT) if n else v0
        self.nu = PRIOR_WEIGHT + total

    def predict(self, z: Array) -> Forecast:
        """The forecast for one curve, z: (levels,), filled up to the level."""
        mean, sd = self._moments(z[None, :])
        return Forecast(float(mean[0]), float(sd[0]), self.nu)

    def distances(self, z: Array, goal: float) -> Array:
        """Standard deviations by which a goal lies above each curve's mean; z: (n, levels) -> (n,)."""
        mean, sd = self._moments(z)
        return (goal - mean) / sd

    def _moments(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of z_T, (n,) each."""
        x = self._rows(features(rows, self.epochs, self.level))
        mean = rows[:, self.level] + self._drop(rows) + x @ self.coefficients
        # Without a finished trial only v0 is known of the noise.
        noise = self._noise(rows) / self.unit if self.nu > PRIOR_WEIGHT else np.ones(len(rows))
        variance = self.s2 * (noise**2 + np.einsum("ij,jk,ik->i", x, self.inverse, x))
        if self.nu == PRIOR_WEIGHT:
            variance = np.full(len(rows), self.s2)
        return mean, np.sqrt(variance)

    def _rows(self, raw: Array) -> Array:
        """A column of ones, then the standardised features: (n, 4)."""
        return np.hstack([np.ones((len(raw), 1)), (raw - self.centre) / self.spread])

    def _drop(self, z: Array) -> Array:
        """p: the remaining drop by the pooled decay; zero for a rising curve."""
        fall: Array = np.minimum(slopes(z, self.epochs, self.level), 0.0)
        return fall * self.prior.gain(self.doublings)

    def _noise(self, z: Array) -> Array:
        """g: noise scale of each curve, larger for steep ones."""
        steep = np.minimum(np.abs(slopes(z, self.epochs, self.level)), 3.0)
        reach = max(self.prior.gain(self.doublings), 0.2 * self.doublings)
        noise: Array = FLOOR * math.sqrt(self.doublings) + steep * reach
        return noise


def student_cdf(t: float, nu: float) -> float:
    """The probability that a Student-t variable with nu degrees of freedom is below t.

    >>> round(student_cdf(2.132, 4), 3)
    0.95
    """
    from scipy.special import stdtr  # a quarter of a second, which only rules that predict need to wait

    return float(stdtr(nu, t))


@lru_cache(maxsize=1024)
def student_quantile(probability: float, nu: float) -> float:
    """The t below which a Student-t variable lies with this probability, in (0, 1).

    >>> round(student_quantile(0.95, 4), 3)
    2.132
    """
    from scipy.special import stdtrit

    return float(stdtrit(nu, probability))
