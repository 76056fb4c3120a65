"""Randomness that belongs to one decision: a function of the seed, the trial and the moment alone.

A stream of random numbers would make a decision depend on how many were taken before it, and so on
the order in which unrelated trials happen to report. Here every decision has a generator of its own.
"""

from __future__ import annotations

import re
import zlib

import numpy as np


def generator(seed: int, trial_id: str, moment: int = 0) -> np.random.Generator:
    """The generator of one decision on one trial.

    Args:
        seed: the rule's seed, >= 0.
        trial_id: its trailing number counts, where it has one: Ray's ids (`a1b2c_00003`) carry a
            prefix that differs from run to run.
        moment: tells decisions on one trial apart; its resource, usually.

    >>> generator(1, "a1b2c_00003", 4).random() == generator(1, "f9e8d_00003", 4).random()
    True
    """
    digits = re.search(r"(?:^|_)(\d+)$", trial_id)
    number = int(digits[1]) if digits else zlib.crc32(trial_id.encode())
    return np.random.default_rng([seed, number, moment])
