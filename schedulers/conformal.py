"""Ranges about predictions, widened until they hold as often as they say: split conformal prediction.

Vovk, Gammerman, Shafer: "Algorithmic Learning in a Random World", 2005; Lei et al., "Distribution-Free
Predictive Inference for Regression", J. Am. Stat. Assoc. 113 (2018) 1094.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

NOMINAL = 0.9
"""Share of ends that a range is meant to hold."""

FEWEST = 5
"""Predictions whose end is known, below which nothing is said of how wide a range must be."""


def widening(misses: Sequence[float]) -> float | None:
    """By what factor a range must be widened to hold the next end with probability `NOMINAL`.

    The ceil((n + 1)·0.9)-th smallest of n misses holds the next with that probability if it is exchangeable
    with them. Of fewer than nine the largest is taken, which holds it with probability n / (n + 1).
    A range is never narrowed: the trials that finish first are easier to predict than the others.

    Args:
        misses: how far earlier predictions were off, >= 0, in halves of their ranges.

    Returns:
        At least 1; None of fewer than `FEWEST` misses.

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
