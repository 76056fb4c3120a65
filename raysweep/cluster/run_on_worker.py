"""A piece of work done where trials run, rather than in the driver: it may need what only they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

LOOK_S = 0.5


def run_on_worker(
    function: Callable[..., Any],
    /,
    *args: Any,
    cpu: float,
    gpu: float,
    stopped: Callable[[], bool],
    **words: Any,
) -> Any:
    """Call a function in a worker with a trial's resources; a Ray must be up.

    Args:
        function: whose module the workers can import.
        args: of the call.
        cpu: cores.
        gpu: GPUs.
        stopped: whether nobody wants it any more.
        words: of the call.

    Returns:
        What it returns; None if it was stopped first.
    """
    task = ray.remote(num_cpus=cpu, num_gpus=gpu)(function).remote(*args, **words)
    while not ray.wait([task], timeout=LOOK_S)[0]:
        if stopped():
            ray.cancel(task, force=True)
            return None
    return ray.get(task)
