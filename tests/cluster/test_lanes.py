"""How many trials share a process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Literal

import pytest

from raysweep.cluster.lanes import lanes_per_process
from raysweep.cluster.machine import Machine
from raysweep.cluster.nodes import Nodes

LAPTOP, SERVER = Machine(cpus=2, gpus=0), Machine(cpus=16, gpus=2)


@pytest.mark.parametrize(
    ("place", "cpu", "gpu", "wanted", "lanes"),
    [
        (LAPTOP, 1, 0, "auto", 1),  # a core each: nothing to share
        (LAPTOP, 2, 0, 8, 1),
        (LAPTOP, 0.25, 0, "auto", 4),
        (LAPTOP, 0.25, 0, 1, 1),
        (LAPTOP, 0.25, 0, 3, 2),  # of three, one core in four would lie idle
        (LAPTOP, 0.3, 0, "auto", 3),
        (LAPTOP, 0.7, 0, "auto", 1),
        (SERVER, 1, 0.125, "auto", 1),  # on a GPU only where it is asked for
        (SERVER, 1, 0.125, 8, 8),
        (SERVER, 1, 0.125, 16, 8),  # no more than a GPU holds
        (SERVER, 4, 0.125, 8, 2),  # 16 cores hold four of them: two for each GPU
        (SERVER, 1, None, 8, 1),
        (SERVER, 1, 2, 8, 1),
        (Nodes((SERVER, SERVER)), 1, 0.25, 4, 4),
    ],
)
def test_trials_share_a_process_that_would_share_a_device(
    place: Machine | Nodes, cpu: float, gpu: float | None, wanted: int | Literal["auto"], lanes: int
) -> None:
    asked = SimpleNamespace(cpu=cpu, gpu=gpu, on_oom=None)
    assert lanes_per_process(place, asked, wanted, place.slots(asked)) == lanes


@pytest.mark.parametrize(("limit", "lanes"), [(8, 4), (4, 2), (3, 2), (2, 1), (1, 1)])
def test_no_two_trials_share_a_process_while_a_core_is_idle(limit: int, lanes: int) -> None:
    asked = SimpleNamespace(cpu=0.25, gpu=0, on_oom=None)
    assert lanes_per_process(LAPTOP, asked, "auto", LAPTOP.slots(asked, limit)) == lanes
