"""How many trials should share a process: measured where they run, and suggested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raysweep.config import read_sweep
from raysweep.config.trial_config import trial_config
from raysweep.preflight.check import NOTE, OK
from raysweep.preflight.lanes import lane_checks, proposed_lanes
from raysweep.preflight.preflight import TrialSlots, _fit, time_lanes
from tests.sound_sweep import Read
from trainables import lane_time
from trainables.data import load
from trainables.dry_run_report import DryRunReport
from trainables.lane_time import LaneTime, counts_up_to, lane_times

RAN, FAILED = DryRunReport("ran"), DryRunReport("failed")


def speeds(**epoch_s: float) -> list[LaneTime]:
    """lanes_4=0.1: an epoch takes 0.1 s with four lanes, all trained together."""
    return [
        LaneTime(lanes := int(name.removeprefix("lanes_")), seconds, lanes, 100.0)
        for name, seconds in epoch_s.items()
    ]


@pytest.mark.parametrize(
    ("measured", "lanes"),
    [
        (speeds(lanes_1=0.2), 1),
        (speeds(lanes_1=0.2, lanes_4=0.1, lanes_16=0.05), 16),
        (speeds(lanes_1=0.2, lanes_4=0.1, lanes_16=0.096), 4),  # hardly less: not worth waiting for more
        (speeds(lanes_1=0.2, lanes_4=0.19), 1),
        (speeds(lanes_1=0.2, lanes_4=0.3, lanes_16=0.1), 16),
    ],
)
def test_as_many_lanes_are_proposed_as_make_epochs_shorter(measured: list[LaneTime], lanes: int) -> None:
    assert proposed_lanes(measured) == lanes


def test_a_measurement_is_reported_with_the_setting_that_it_suggests() -> None:
    measured = speeds(lanes_1=0.2, lanes_4=0.1)
    message = (
        "an epoch of a trial takes 0.2 s with 1, 0.1 s with 4 (4 trained together) to a process; 4 is best"
    )
    (check,) = lane_checks(measured, lanes=1)
    assert (check.state, check.message) == (NOTE, message)
    assert check.fix == "--set resources_per_trial.lanes=4"
    (check,) = lane_checks(measured, lanes=4)
    assert (check.state, check.message, check.fix) == (OK, message, "")


def test_why_trials_are_trained_separately_is_reported() -> None:
    why = "batch norm keeps running statistics"
    checks = [*lane_checks([LaneTime(1, 0.2, 1, 9.0), LaneTime(4, 0.2, 1, 9.0, why)], lanes=1)]
    assert checks[1].message == f"some trials are trained by themselves: {why}"


def test_nothing_is_reported_if_trials_share_no_device() -> None:
    assert [*lane_checks([], lanes=1)] == []


@pytest.mark.parametrize(
    ("most", "counts"), [(1, ()), (2, (1, 2)), (10, (1, 4, 10)), (64, (1, 4, 16, 64)), (200, (1, 4, 16, 64))]
)
def test_lanes_are_measured_as_far_as_shares_go(most: int, counts: tuple[int, ...]) -> None:
    assert counts_up_to(most) == counts


def test_the_configurations_that_ran_are_timed_as_lanes_of_a_core(read: Read) -> None:
    asked: dict[str, Any] = {}

    def measure(configs: Any, data: Any, **kwargs: Any) -> list[LaneTime]:
        asked.update(kwargs, rates=[config["optimizer_config"]["lr"] for config in configs])
        return speeds(lanes_1=0.1)

    place = TrialSlots(8, 0, 0.0, cpus=2, most_lanes=4, measure_lanes=measure)
    configs = {name: {"optimizer_config.lr": lr} for name, lr in (("a", 0.1), ("b", 0.2), ("c", 0.3))}
    reports = {"a": RAN, "b": FAILED, "c": RAN}
    data: Any = None
    assert time_lanes(read(()).sweep, configs, reports, data, place, 9.0) == tuple(speeds(lanes_1=0.1))
    assert asked == {"rates": [0.1, 0.3], "gpu": 0.0, "counts": (1, 4), "limit_s": 9.0}


@pytest.mark.parametrize(("lanes", "memory_mb"), [(1, 360.0), (4, 120.0)])
def test_lanes_share_the_memory_of_their_process(lanes: int, memory_mb: float) -> None:
    reports = {"default": DryRunReport("ran", memory_mb=300.0)}
    fit = _fit(reports, TrialSlots(8, 0, 0.0, lanes=lanes, most_lanes=4), speeds(lanes_1=0.2, lanes_4=0.1))
    assert fit.memory_mb == pytest.approx(memory_mb)


def test_each_number_of_lanes_is_timed_and_what_fits_is_fused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_time, "bound_memory", lambda mb: None)  # of this process it is for good
    file = tmp_path / "s.yaml"
    file.write_text(
        "run: {data: trainables.data.load_diabetes, scheduler: null, epochs: 1, net_config: {nodes: 8}}"
    )
    sweep = read_sweep(file).sweep
    configs = [
        trial_config(sweep, {"net_config.layers": layers}, "preflight") | {"optimizer": "torch.optim.SGD"}
        for layers in (1, 2)
    ]
    one, three = lane_times(configs, load(sweep.run), 0.0, (1, 3))
    assert [(each.lanes, each.fused, each.obstacle) for each in (one, three)] == [(1, 1, ""), (3, 3, "")]
    assert one.epoch_s > 0
    assert 0 < 2 * three.memory_mb < one.memory_mb  # they share a process


@pytest.mark.nightly
def test_lanes_are_timed_in_their_own_process_within_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("run: {data: trainables.data.load_diabetes, scheduler: null, net_config: {nodes: 8}}")
    sweep = read_sweep(file).sweep
    configs, data = [trial_config(sweep, {}, "preflight")], load(sweep.run)
    times = lane_time.measure_lanes(configs, data, gpu=0.0, counts=(1, 2), limit_s=120.0)
    assert [(each.lanes, each.fused) for each in times] == [(1, 1), (2, 2)]
    assert lane_time.measure_lanes(configs, data, gpu=0.0, counts=(1, 2), limit_s=0.0) == []
