"""A staged sweep costs the sum of its stages."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

import launch
from raysweep.config import read_sweep
from raysweep.planning.plan import Costs
from raysweep.planning.staged_plan import as_sweeps, plan_stages
from tests.planning.test_plan import flat

FILE = "sweeps/staged.yaml"


def test_every_stage_that_trains_is_planned_and_all_are_added_up() -> None:
    sweep = read_sweep(FILE).sweep
    forecast = plan_stages(sweep, Costs((1.0,), slots=2, price=3.6), flat)
    assert {name: (one.trials, one.worst_epochs) for name, one in forecast.stages.items()} == {
        "explore": (20, 20 * 5),
        "refine": (12, 12 * 15),
        "validate": (4 * 3, 12 * 15),
    }
    assert forecast.epochs.middle == 100 + 180 + 180
    assert forecast.seconds.middle == sum(one.seconds.middle for one in forecast.stages.values())
    assert forecast.cost is not None
    json.dumps(asdict(forecast))


def test_a_validation_is_as_long_as_the_last_search_unless_it_says() -> None:
    overrides = ["stages.refine.run.epochs=30"]
    assert as_sweeps(read_sweep(FILE, overrides=overrides).sweep)["validate"].run.epochs == 30
    overrides += ["stages.validate.run.epochs=7"]
    assert as_sweeps(read_sweep(FILE, overrides=overrides).sweep)["validate"].run.epochs == 7


def test_the_command_prints_each_stage_and_refuses_the_reverse(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["plan", FILE, "--epoch-s", "0.1"]) == 0
    shown = capsys.readouterr().out
    for word in ("explore", "refine", "validate", "180 epochs", "ranges as declared"):
        assert word in shown
    assert launch.main(["plan", FILE, "--epoch-s", "0.1", "--hours", "3"]) == 2
    assert capsys.readouterr().err.startswith("launch.py: --hours does not work for a sweep with stages")
