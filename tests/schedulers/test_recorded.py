"""The predictive rule on two sweeps that were recorded in full."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from schedulers.pfl import PFLRule
from schedulers.simulate import replay

RECORDED = Path(__file__).parents[2] / "benchmarks" / "curves"


@pytest.mark.parametrize("workers", [1, 16])
@pytest.mark.parametrize("name", ["digits", "pumps"])
def test_recorded_sweeps_are_halved_and_a_winner_found(name: str, workers: int) -> None:
    """80 trials of 50 epochs, recorded in full (benchmarks/record.py)."""
    with np.load(RECORDED / f"{name}__cosine__50.npz") as file:
        curves = file["val"].astype(float)
    rule = PFLRule(max_resource=50, population_size=80)
    outcome = replay(rule, curves.tolist(), workers=workers)
    assert outcome.saved > 0.6
    assert outcome.best == curves[:, -1].min()
    assert rule.ranges_held >= 0.85 * rule.ranges_given > 0  # its ranges are to hold nine of ten ends
