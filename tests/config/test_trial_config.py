"""What a trainable is given of a trial."""

from __future__ import annotations

from typing import Any

from raysweep.config.sweep import SEED_KEY
from raysweep.config.trial_config import trial_config
from tests.builders import LR, small_sweep


def config_of(**flat: Any) -> dict[str, Any]:
    return trial_config(small_sweep(), flat, "00003")


def test_searched_values_lie_over_the_run() -> None:
    assert config_of(**{LR: 0.5})["optimizer_config"]["lr"] == 0.5


def test_a_trial_has_the_runs_seed_unless_it_brings_its_own() -> None:
    assert config_of()["trial"] == {"id": "00003", "seed": 42}
    assert config_of(**{SEED_KEY: 7})["trial"] == {"id": "00003", "seed": 7}
