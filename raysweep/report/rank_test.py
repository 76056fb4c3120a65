"""An exact test, for several sweeps per side, of which method finds better values, and by how much.

The unit is the sweep. Trials of one adaptive search depend on each other, so a test that counts trials finds
differences between equal searches; sweeps with their own seeds are independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from raysweep.report.trajectory import Floats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class RankTest:
    """The result of a rank test on two sides' best losses.

    Attributes:
        first_is_ahead: whether the first side has the lower mean rank.
        p: two-sided, of the Wilcoxon-Mann-Whitney test; exact.
        reachable_p: the least p that so many sweeps can reach.
        lead: median of all pairwise differences, positive if the first side is better (Hodges-Lehmann);
            NaN if a sweep has no value.
        low, high: interval of the lead, from order statistics of the same differences.
        confidence: of that interval: at least 95 % if so many sweeps allow it, else the most they allow.
    """

    first_is_ahead: bool
    p: float
    reachable_p: float
    lead: float
    low: float
    high: float
    confidence: float


def rank_test(one: Floats, other: Floats) -> RankTest:
    """Test two sides' best losses, (sweeps,) each; infinity for a sweep without one.

    >>> found = rank_test(np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.5, 0.7]))
    >>> round(found.p, 3), found.reachable_p, round(found.lead, 3)
    (0.1, 0.1, 0.3)
    """
    n, m = len(one), len(other)
    if np.isfinite(one).all() and np.isfinite(other).all():
        leads = np.sort((other[:, None] - one[None, :]).ravel())
        skipped, confidence = _skipped(n, m)
        lead, low, high = float(np.median(leads)), float(leads[skipped]), float(leads[-1 - skipped])
    else:
        lead, low, high, confidence = math.nan, math.nan, math.nan, math.nan
    ranks = rankdata(np.concatenate([one, other]))
    return RankTest(
        first_is_ahead=bool(ranks[:n].mean() < ranks[n:].mean()),
        p=_p(ranks, n),
        reachable_p=reachable_p(n, m),
        lead=lead,
        low=low,
        high=high,
        confidence=confidence,
    )


def reachable_p(n: int, m: int) -> float:
    """The least two-sided p of n sweeps against m, reached if all of one side rank first.

    >>> reachable_p(1, 1), reachable_p(3, 3)
    (1.0, 0.1)
    """
    return min(1.0, 2 / math.comb(n + m, n))


def sweeps_a_side(level: float) -> int:
    """The fewest sweeps per side that can reach a level.

    >>> sweeps_a_side(0.05)
    4
    """
    return next(n for n in count(1) if reachable_p(n, n) <= level)


def _p(ranks: Floats, n: int) -> float:
    """The two-sided p of the first n ranks against the rest; exact, also with ties (mid-ranks)."""
    doubled = np.rint(2 * ranks).astype(int)
    ways, total = _ways_by_sum(doubled, n), int(doubled[:n].sum())
    return min(1.0, 2 * float(min(ways[: total + 1].sum(), ways[total:].sum()) / ways.sum()))


def _skipped(n: int, m: int) -> tuple[int, float]:
    """How many differences the interval leaves out at each end, and its confidence (Lehmann 1975, 2.5)."""
    ways = _ways_by_sum(np.arange(1, n + m + 1), n)
    lowest = n * (n + 1) // 2
    outside = 2 * np.cumsum(ways[lowest : lowest + n * m + 1]) / ways.sum()
    skipped = max(int((outside <= 1 - CONFIDENCE + 1e-12).sum()) - 1, 0)
    return skipped, max(0.0, 1 - float(outside[skipped]))


def _ways_by_sum(ranks: NDArray[np.int64], n: int) -> Floats:
    """The number of ways to choose n of these ranks, by their sum; (sum of all + 1,)."""
    total = int(ranks.sum())
    ways = np.zeros((n + 1, total + 1))
    ways[0, 0] = 1
    for rank in ranks:
        for chosen in range(n, 0, -1):
            ways[chosen, rank:] += ways[chosen - 1, : total + 1 - rank]
    of_n: Floats = ways[n]
    return of_n
