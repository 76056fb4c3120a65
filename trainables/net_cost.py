"""Costs of using a trained net: parameters, arithmetic and time of one answer.

They depend on the architecture, not on the weights, so a trial measures them once, before its first epoch,
and reports the same values at every epoch. All are lower-is-better and can be used in a sweep's `metrics`
(a front of accuracy against cost) or its `constraints`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

WARM_UP = 10  # passes, as the first ones fill caches, and on a GPU choose kernels
PASSES = 101  # odd, so that the median is one of them
BUDGET_S = 1.0  # a net that takes 50 ms is timed 20 times, not 101


def measure(
    names: Sequence[str], net: nn.Module, answer: Callable[[], object], device: torch.device
) -> dict[str, float]:
    """The named costs of a net.

    - `parameters`: numbers in the net's parameters, frozen ones included; buffers (running means) are not.
    - `trainable_parameters`: those of them with `requires_grad`.
    - `flops`: of one answer, a multiply-add counted as two. Matrix products, convolutions and
      attention count; element-wise operations (activations, norms) do not.
    - `latency_ms`: wall time of one answer, milliseconds, the median of many after a warm-up, on the
      trial's device. It depends on the load of the machine and of a shared GPU.

    Args:
        names: the costs, as in `RunConfig.costs`.
        net: in evaluation mode.
        answer: one forward pass of one row, without gradients.
        device: the device of the net.
    """
    measures: dict[str, Callable[[], float]] = {
        "parameters": lambda: sum(each.numel() for each in net.parameters()),
        "trainable_parameters": lambda: sum(each.numel() for each in net.parameters() if each.requires_grad),
        "flops": lambda: _flops(answer),
        "latency_ms": lambda: _latency_ms(answer, device),
    }
    return {name: float(measures[name]()) for name in names}


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
    """Wait until a GPU has done its work, which is only queued when a call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
