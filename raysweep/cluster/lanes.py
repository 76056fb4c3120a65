"""How many trials share a process."""

from __future__ import annotations

import math
from typing import Literal

from raysweep.cluster.machine import Machine, ResourceRequest, how_often
from raysweep.cluster.nodes import Nodes


def lanes_per_process(
    place: Machine | Nodes, asked: ResourceRequest, wanted: int | Literal["auto"], slots: int
) -> int:
    """How many trials share a process: those that would share a core, or a GPU, at most.

    As many in each process, so that the processes fill every device; and no two in one while there are
    devices that nobody uses.

    Args:
        place: where the trials run.
        asked: what one of them asks for.
        wanted: at most so many. "auto": as many as there can be on cores; on GPUs one, for a trial that
            cannot be trained together with others is better off in a process of its own.
        slots: trials at once.

    >>> from types import SimpleNamespace
    >>> quarter = SimpleNamespace(cpu=0.25, gpu=0, on_oom=None)
    >>> lanes_per_process(Machine(cpus=2, gpus=0), quarter, "auto", slots=8)
    4
    >>> lanes_per_process(Machine(cpus=2, gpus=0), quarter, 3, slots=8)
    2
    >>> lanes_per_process(Machine(cpus=8, gpus=0), quarter, "auto", slots=8)
    1
    """
    gpu = place.gpu_share(asked.gpu)
    devices = place.gpus if gpu > 0 else place.cpus
    share = gpu if gpu > 0 else asked.cpu
    together = how_often(share, 1) if share > 0 else 1
    most = (1 if gpu > 0 else together) if wanted == "auto" else wanted
    most = min(most, together, math.ceil(slots / max(devices, 1)))
    return max((lanes for lanes in range(1, most + 1) if together % lanes == 0), default=1)
