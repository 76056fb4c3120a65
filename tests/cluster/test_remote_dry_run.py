"""Dry runs on Ray's workers: every way that one can end is an outcome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raysweep.cluster.embedded import embedded_ray
from raysweep.config import read_sweep
from raysweep.config.trial_config import trial_config
from trainables.data import load

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with embedded_ray():
        yield


@pytest.mark.nightly
def test_a_worker_tells_of_a_run_of_a_fault_and_of_a_net_too_large(tmp_path: Path) -> None:
    """Torch refuses a net above its memory limit, so the node and its other trials are not affected."""
    from raysweep.cluster.remote_dry_run import dry_run_on_workers, free_memory_mb

    file = tmp_path / "s.yaml"
    file.write_text("run: {data: trainables.data.load_diabetes, scheduler: null, net_config: {nodes: 8}}")
    sweep = read_sweep(file).sweep
    assert free_memory_mb() > 0
    flats: Any = ({}, {"net_config.norm": "no such"}, {"net_config.nodes": 10000000})
    configs = [trial_config(sweep, flat, "preflight") for flat in flats]
    data = load(sweep.run, sweep.import_paths)
    reports = dry_run_on_workers(configs, data, cpu=1.0, gpu=0.0, at_once=2, limit_s=120.0)
    assert [one.outcome for one in reports] == ["ran", "failed", "oom"]
    assert reports[0].restored
    assert "norm is None" in reports[1].reason


def test_a_task_without_a_place_says_so_and_a_waiting_one_is_not_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit starts when a task runs: a cloud's node may take minutes to start."""
    from raysweep.cluster import remote_dry_run

    file = tmp_path / "s.yaml"
    file.write_text("run: {data: trainables.data.load_diabetes, scheduler: null, net_config: {nodes: 8}}")
    sweep = read_sweep(file).sweep
    monkeypatch.setattr(remote_dry_run, "PLACED_S", 2.0)
    config, data = trial_config(sweep, {}, "preflight"), load(sweep.run, sweep.import_paths)
    reports = remote_dry_run.dry_run_on_workers([config], data, cpu=500.0, gpu=0.0, at_once=1, limit_s=0.1)
    assert [(one.outcome, one.reason) for one in reports] == [
        ("failed", "not placed within 2 s; `ray status` says why no node has room for it")
    ]


@pytest.mark.nightly
def test_a_worker_times_lanes_and_a_net_too_large_ends_it(tmp_path: Path) -> None:
    from raysweep.cluster.remote_dry_run import measure_lanes_on_worker

    file = tmp_path / "s.yaml"
    file.write_text("run: {data: trainables.data.load_diabetes, scheduler: null, net_config: {nodes: 8}}")
    sweep = read_sweep(file).sweep
    data = load(sweep.run, sweep.import_paths)
    small, large = (trial_config(sweep, {"net_config.nodes": nodes}, "preflight") for nodes in (8, 10000000))
    limits: Any = {"cpu": 0.5, "gpu": 0.0, "counts": (1, 2), "limit_s": 120.0}
    times = measure_lanes_on_worker([small], data, **limits)
    assert [(each.lanes, each.fused) for each in times] == [(1, 1), (2, 2)]
    assert [each.lanes for each in measure_lanes_on_worker([small, large], data, **limits)] == [1]
