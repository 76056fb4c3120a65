"""Steps the optimizers of all lanes.

Every optimizer can be stepped lane by lane. Adam, AdamW and SGD call torch's fused kernels directly, without
the overhead of `Optimizer.step`; SPlus multiplies the matrices of all lanes at once (stacked_splus.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

from trainables.fused.parameter_bank import ParameterBanks
from trainables.fused.stacked_splus import StackedSPlus
from trainables.learner import Learner


def stacked_optimizer(learners: Sequence[Learner], banks: ParameterBanks) -> LaneSteps | StackedSPlus:
    """The fastest stacked optimizer for learners whose optimizers are of one class."""
    optimizers = [learner.optimizer for learner in learners]
    if StackedSPlus.takes(optimizers):
        return StackedSPlus(optimizers, banks)
    if all(_kernel_takes(optimizer) for optimizer in optimizers):
        return FusedKernelSteps(optimizers)
    return LaneSteps(optimizers)


class LaneSteps:
    """Steps each lane's own optimizer, one after the other.

    Args:
        optimizers: one of each lane.
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self._optimizers = optimizers

    def begin_epoch(self) -> None:
        """Adopt the current state of the learners."""

    def step(self, lanes: Sequence[int]) -> dict[int, Exception]:
        """Step these lanes; returns the errors by lane. Other lanes may change, too."""
        errors: dict[int, Exception] = {}
        for lane in lanes:
            try:
                self._step_lane(lane)
            except Exception as error:  # of one lane; the others go on
                errors[lane] = error
        return errors

    def _step_lane(self, lane: int) -> None:
        self._optimizers[lane].step()


class FusedKernelSteps(LaneSteps):
    """Calls torch's fused kernel of Adam, AdamW or SGD on the parameters of each lane.

    The state stays with the optimizers.

    Args:
        optimizers: one of each lane; their groups have `fused` set.
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        super().__init__(optimizers)
        self._calls: list[_KernelCall | None] = []

    def begin_epoch(self) -> None:
        """Adopt the current state of the learners."""
        self._calls = [None] * len(self._optimizers)

    def _step_lane(self, lane: int) -> None:
        call = self._calls[lane]
        if call is None:  # an optimizer creates its state at its first step
            self._optimizers[lane].step()
            self._calls[lane] = _KernelCall(self._optimizers[lane])
        else:
            call()


def _kernel_takes(optimizer: Optimizer) -> bool:
    """Whether a fused kernel does all that a step of this optimizer does."""
    if type(optimizer) not in (Adam, AdamW, SGD) or len(optimizer.param_groups) > 1:
        return False
    group = optimizer.param_groups[0]
    unusual = ("amsgrad", "maximize", "capturable", "differentiable")
    hooks = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    return bool(group["fused"]) and not any(group.get(name) for name in unusual) and not any(hooks)


class _KernelCall:
    """One lane's call of the kernel, with lists of its tensors, and its group's settings at each step."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._group = optimizer.param_groups[0]
        trained = [p for p in self._group["params"] if p.grad is not None]
        self._parameters: list[torch.Tensor] = trained
        self._gradients = [p.grad for p in trained]
        self._sgd = isinstance(optimizer, SGD)
        if self._sgd:
            with_momentum = trained if self._group["momentum"] else []  # without, SGD keeps no state
            self._momenta = [optimizer.state[p]["momentum_buffer"] for p in with_momentum]
            return
        states = [optimizer.state[p] for p in trained]
        self._means = [state["exp_avg"] for state in states]
        self._squares = [state["exp_avg_sq"] for state in states]
        self._count = torch.stack([state["step"] for state in states])
        self._counts = list(self._count.unbind())
        for state, count in zip(states, self._counts, strict=True):
            state["step"] = count
        decoupled = isinstance(optimizer, AdamW) or bool(self._group.get("decoupled_weight_decay"))
        self._kernel: Any = torch._fused_adamw_ if decoupled else torch._fused_adam_

    def __call__(self) -> None:
        group = self._group
        if self._sgd:
            torch._fused_sgd_(
                self._parameters,
                self._gradients,
                self._momenta,
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
                lr=group["lr"],
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                maximize=False,
                is_first_step=False,
            )
            return
        self._count.add_(1)
        beta1, beta2 = group["betas"]
        self._kernel(
            self._parameters,
            self._gradients,
            self._means,
            self._squares,
            [],
            self._counts,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
