"""What a trained net will cost whoever uses it: parameters, arithmetic and time of one answer.

They depend on the architecture, not on what is learnt, so a trial measures them once, before its first
epoch, and shows the same figures at every epoch. All are lower-is-better and can stand in a sweep's
`metrics` (a front of accuracy against cost) or its `constraints` (a net that must fit its place).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

WARM_UP = 10  # passes: the first ones fill caches, and on a GPU choose kernels
PASSES = 101  # odd, so that the median is one of them
BUDGET_S = 1.0  # a net that takes 50 ms is timed 20 times, not 101


def measure(
    names: Sequence[str], net: nn.Module, answer: Callable[[], object], device: torch.device
) -> dict[str, float]:
    """The named costs of a net.

    - `parameters`: numbers in the net that training changes or may be told to, frozen ones included;
      buffers (running means) are not.
    - `trainable_parameters`: those of them with `requires_grad`.
    - `flops`: of one answer, a multiply-add counted as two. Matrix products, convolutions and
      attention count; what is done element by element (activations, norms) does not.
    - `latency_ms`: wall time of one answer, milliseconds, the median of many after a warm-up, on the
      device that the trial has. A machine that is busy, or a GPU that is shared, shows in it.

    Args:
        names: which of them, as in `RunConfig.costs`.
        net: in evaluation mode.
        answer: one forward pass of one row, without gradients.
        device: where that happens.
    """
    ways: dict[str, Callable[[], float]] = {
        "parameters": lambda: sum(each.numel() for each in net.parameters()),
        "trainable_parameters": lambda: sum(each.numel() for each in net.parameters() if each.requires_grad),
        "flops": lambda: _flops(answer),
        "latency_ms": lambda: _latency_ms(answer, device),
    }
    return {name: float(ways[name]()) for name in names}


def _flops(answer: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        answer()
    return float(counter.get_total_flops())


def _latency_ms(answer: Callable[[], object], device: torch.device) -> float:
    for _ in range(WARM_UP):
        answer()
    _wait(device)
    seconds: list[float] = []
    while len(seconds) < PASSES and sum(seconds) < BUDGET_S:
        started = time.perf_counter()
        answer()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return 1000 * median(seconds)


def _wait(device: torch.device) -> None:
    """Until what was asked of a GPU is done: its work is only queued when a call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
