"""How many trials fit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raysweep.cluster import machine
from raysweep.cluster.machine import CannotPlace, Machine


@pytest.mark.parametrize(
    ("cpus", "gpus", "cpu", "gpu", "limit", "slots"),
    [
        (2, 0, 1, None, None, 2),
        (2, 0, 0.5, None, None, 4),
        (8, 0, 3, None, None, 2),
        (8, 2, 1, None, None, 2),  # one whole GPU per trial where there are any
        (8, 2, 1, 0, None, 8),
        (8, 2, 1, 0.25, None, 8),
        (8, 2, 1, 0.4, None, 4),  # a share never spans two GPUs
        (99, 1, 1, 0.1, None, 10),
        (8, 4, 1, 2, None, 2),
        (8, 0, 1, None, 3, 3),
        (2, 0, 1, None, 50, 2),
        (4, 0, 0, 0, None, 4),  # asking for nothing at all: one a core
    ],
)
def test_as_many_trials_run_at_once_as_fit(
    cpus: int, gpus: int, cpu: float, gpu: float | None, limit: int | None, slots: int
) -> None:
    assert Machine(cpus, gpus).slots(SimpleNamespace(cpu=cpu, gpu=gpu), limit) == slots


@pytest.mark.parametrize(("cpu", "gpu"), [(3, None), (1, 1), (1, 0.5)])
def test_a_trial_that_fits_nowhere_is_refused_with_the_numbers(cpu: int, gpu: float | None) -> None:
    with pytest.raises(
        CannotPlace, match=rf"asks for {cpu} CPU and {gpu or 0:g} GPU, but this machine has 2 CPU"
    ):
        Machine(cpus=2, gpus=0).slots(SimpleNamespace(cpu=cpu, gpu=gpu))


@pytest.mark.parametrize(
    ("cpu", "gpu", "more", "share"),
    [
        (1, 0.25, (None, 0.5), {"cpu": 1, "gpu": 0.5}),
        (1, 0, (2, None), {"cpu": 2, "gpu": 0}),
        (1, 0, (1000, None), {"cpu": 8, "gpu": 0}),  # all there is: alone
        (1, None, (None, 2), {"cpu": 1, "gpu": 2}),
        (8, 0, (1000, None), None),  # had it all already
        (1, 0.25, (None, 0.25), None),
        (1, 0.25, None, None),
    ],
)
def test_after_an_oom_a_trial_gets_what_the_file_and_the_machine_allow(
    cpu: int, gpu: float | None, more: Any, share: Any
) -> None:
    more = more and SimpleNamespace(cpu=more[0], gpu=more[1])
    assert Machine(8, 2).share_after_oom(SimpleNamespace(cpu=cpu, gpu=gpu, on_oom=more)) == share


def test_one_and_a_half_gpus_are_refused() -> None:
    """Ray's own answer is "Tracked actor is not managed by this event manager"."""
    with pytest.raises(CannotPlace, match=r"gpu 1\.5: a trial takes a share of one GPU or whole GPUs"):
        Machine(cpus=8, gpus=2).slots(SimpleNamespace(cpu=1, gpu=1.5))


@pytest.mark.parametrize(("text", "cpus"), [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2)])
def test_a_container_counts_its_quota_not_its_hosts_cores(
    text: str, cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    monkeypatch.setattr(machine, "CGROUP_CPU_MAX", quota)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)  # type: ignore[attr-defined]
    assert machine.this_machine().cpus == cpus


@pytest.mark.parametrize(("visible", "gpus"), [("", 0), ("-1", 0), ("0", 1), ("0,2", 2)])
def test_hidden_gpus_are_not_counted(visible: str, gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.this_machine().gpus == gpus
