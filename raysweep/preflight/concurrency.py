"""How many trials fit on a machine at once, from the memory that one took."""

from __future__ import annotations

import math
from dataclasses import dataclass

SPARE = 1.2
"""Factor on the memory of the largest configuration: later epochs may take more."""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many trials fit at once.

    Attributes:
        memory_mb: of a trial, with some to spare, MiB.
        available_mb: of the machine, or of one GPU, MiB.
        gpu: share of a GPU that is enough for a trial; None without GPUs.
        slots: trials at once for which there is memory.
    """

    memory_mb: float
    available_mb: float
    gpu: float | None
    slots: int

    def sets(self, asked_gpu: float | None, slots: int) -> str:
        """The `--set` that makes a sweep fit, or fit better; "" if it fits already.

        Args:
            asked_gpu: share of a GPU that a trial has now.
            slots: trials at once now.
        """
        if self.slots < 1:
            return ""
        if self.gpu is not None:
            return "" if asked_gpu == self.gpu else f"resources_per_trial.gpu={self.gpu:g}"
        return f"max_concurrent_trials={self.slots}" if self.slots < slots else ""


def fit_gpu(memory_mb: float, gpu_mb: float, gpus: int) -> Concurrency:
    """How many trials fit on GPUs with `gpu_mb` of memory each; a trial never spans two.

    >>> fit_gpu(3000, 80_000, 2)
    Concurrency(memory_mb=3600.0, available_mb=80000, gpu=0.05, slots=40)
    """
    wanted = SPARE * memory_mb
    beside = math.floor(gpu_mb / wanted) if wanted > 0 else 1
    beside = max((each for each in (1, 2, 3, 4, 5, 8, 10, 16, 20) if each <= beside), default=0)
    return Concurrency(wanted, gpu_mb, math.floor(1e4 / beside) / 1e4 if beside else 1.0, beside * gpus)


def fit_cpu(memory_mb: float, available_mb: float, nodes: int = 1) -> Concurrency:
    """How many trials fit into the memory of `nodes` machines.

    >>> fit_cpu(400, 4096).slots
    8
    """
    wanted = SPARE * memory_mb
    each = math.floor(available_mb / wanted) if wanted > 0 else 1
    return Concurrency(wanted, available_mb, None, nodes * each)
