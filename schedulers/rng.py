"""A random generator for each decision: a function of the seed, the trial and the moment alone.

With one shared stream, a decision would depend on how many numbers were drawn before it, and so on
the order in which unrelated trials report.
"""

from __future__ import annotations

import re
import zlib

import numpy as np


def generator(seed: int, trial_id: str, moment: int = 0) -> np.random.Generator:
    """The generator of one decision on one trial.

    Args:
        seed: the rule's seed, >= 0.
        trial_id: only its trailing number counts, if it has one: Ray's ids (`a1b2c_00003`) have a
            prefix that differs from run to run.
        moment: distinguishes decisions on one trial; usually its resource.

    >>> generator(1, "a1b2c_00003", 4).random() == generator(1, "f9e8d_00003", 4).random()
    True
    """
    digits = re.search(r"(?:^|_)(\d+)$", trial_id)
    number = int(digits[1]) if digits else zlib.crc32(trial_id.encode())
    return np.random.default_rng([seed, number, moment])
