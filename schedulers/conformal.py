"""Split conformal prediction: ranges of predictions, widened to hold as often as they claim.

Vovk, Gammerman, Shafer: "Algorithmic Learning in a Random World", 2005; Lei et al., "Distribution-Free
Predictive Inference for Regression", J. Am. Stat. Assoc. 113 (2018) 1094.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

NOMINAL = 0.9
"""Share of final losses that a range is meant to hold."""

FEWEST = 5
"""Least number of predictions with a known outcome from which a range is given."""


def widening(misses: Sequence[float]) -> float | None:
    """The factor by which a range must be widened to hold the next final loss with probability `NOMINAL`.

    The ceil((n + 1)·0.9)-th smallest of n misses covers the next with that probability if it is exchangeable
    with them. For n below nine the largest is taken, which covers it with probability n / (n + 1).
    A range is never narrowed: the trials that finish first are easier to predict than the others.

    Args:
        misses: how far earlier predictions were off, >= 0, in halves of their ranges.

    Returns:
        At least 1; None for fewer than `FEWEST` misses.

    >>> widening([0.5, 0.2, 2.0, 0.1, 0.3])
    2.0
    >>> widening([3.0, 1.5] + 18 * [0.5])
    1.5
    """
    count = len(misses)
    if count < FEWEST:
        return None
    rank = min(math.ceil((count + 1) * NOMINAL - 1e-9), count)
    return max(1.0, sorted(misses)[rank - 1])
