"""Decides how many trials share a process."""

from __future__ import annotations

import math
from typing import Literal

from raysweep.cluster.machine import Machine, ResourceRequest, how_often
from raysweep.cluster.nodes import Nodes


def lanes_per_process(
    machines: Machine | Nodes, request: ResourceRequest, limit: int | Literal["auto"], slots: int
) -> int:
    """How many trials share a process: at most those that would share a core, or a GPU.

    Every process gets the same number, so that the processes fill every device, and trials share a process
    only if every device is used.

    Args:
        machines: where the trials run.
        request: resources of one trial.
        limit: trials in a process at most. "auto": as many as possible on cores; one on GPUs, for a trial
            that cannot be trained together with others does better in its own process.
        slots: trials that run in parallel.

    >>> from types import SimpleNamespace
    >>> quarter = SimpleNamespace(cpu=0.25, gpu=0, on_oom=None)
    >>> lanes_per_process(Machine(cpus=2, gpus=0), quarter, "auto", slots=8)
    4
    >>> lanes_per_process(Machine(cpus=2, gpus=0), quarter, 3, slots=8)
    2
    >>> lanes_per_process(Machine(cpus=8, gpus=0), quarter, "auto", slots=8)
    1
    """
    gpu = machines.gpu_share(request.gpu)
    devices = machines.gpus if gpu > 0 else machines.cpus
    share = gpu if gpu > 0 else request.cpu
    together = how_often(share, 1) if share > 0 else 1
    most = (1 if gpu > 0 else together) if limit == "auto" else limit
    most = min(most, together, math.ceil(slots / max(devices, 1)))
    return max((lanes for lanes in range(1, most + 1) if together % lanes == 0), default=1)
