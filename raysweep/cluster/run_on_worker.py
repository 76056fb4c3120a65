"""Runs a function where trials run instead of in the driver: it may need resources that only workers have."""

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
    **kwargs: Any,
) -> Any:
    """Call a function in a worker with a trial's resources; Ray must be running.

    Args:
        function: its module must be importable by the workers.
        args: of the call.
        cpu: cores.
        gpu: GPUs.
        stopped: whether to cancel the call.
        kwargs: of the call.

    Returns:
        What the function returns; None if it was stopped first.
    """
    task = ray.remote(num_cpus=cpu, num_gpus=gpu)(function).remote(*args, **kwargs)
    while not ray.wait([task], timeout=LOOK_S)[0]:
        if stopped():
            ray.cancel(task, force=True)
            return None
    return ray.get(task)
