"""Losses and gradients of several equal nets of any kind, by `torch.func.vmap`.

Batched kernels round differently from single ones, so a lane agrees with the trial alone only within the
rounding of float32, which the optimizer may amplify. The tests check every parameter to 1e-4 (relative or
absolute) after an epoch of SGD and of AdamW. Nets that draw random numbers are refused, as vmap has one
generator for all lanes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

from trainables.fused.layer_chain import NotFusible, random_state
from trainables.fused.parameter_bank import ParameterBank, ParameterBanks
from trainables.learner import Learner
from trainables.rng_state import RngState


class VmapEngine:
    """Losses and gradients of learners whose nets have the same configuration.

    Args:
        learners: one of each lane, which has passed `check_vmap`.
        banks: the parameters are added to them.
    """

    def __init__(self, learners: Sequence[Learner], banks: ParameterBanks) -> None:
        self._learner = learners[0]
        self._rows: dict[str, tuple[ParameterBank, slice]] = {}
        for name, first in learners[0].net.named_parameters():
            if first.requires_grad:
                rows = [banks.add(lane, each.net.get_parameter(name)) for lane, each in enumerate(learners)]
                bank, row = rows[0]
                self._rows[name] = bank, slice(row, row + len(rows))
        constants = [_constants(learner.net) for learner in learners]
        self._constants = {name: torch.stack([each[name] for each in constants]) for name in constants[0]}
        self._function = vmap(grad_and_value(self._loss, has_aux=True), randomness="error")

    def losses(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `chain_engine.Engine.losses`."""
        values = {name: bank.value[rows] for name, (bank, rows) in self._rows.items()}
        gradients, (losses, outputs) = self._function(values, self._constants, x, y)
        for name, (bank, rows) in self._rows.items():
            bank.grad[rows].copy_(gradients[name])
        return losses.detach(), outputs.detach()

    def _loss(
        self,
        values: dict[str, torch.Tensor],
        constants: dict[str, torch.Tensor],
        x: torch.Tensor,
        y: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = functional_call(self._learner.net, (values, constants), (x,))
        paired, targets = self._learner.meaning.pair(outputs, y)
        return self._learner.criterion_loss(paired, targets), outputs


def _constants(net: nn.Module) -> dict[str, torch.Tensor]:
    """Frozen parameters and buffers."""
    frozen = {name: p.detach() for name, p in net.named_parameters() if not p.requires_grad}
    return frozen | dict(net.named_buffers())


def check_vmap(learner: Learner) -> None:
    """Check by one small step on a copy that vmap can train the learner's net.

    Raises:
        NotFusible: if it cannot, or not with the same result as alone.
    """
    for name, module in learner.net.named_modules():
        if getattr(module, "running_mean", None) is not None:
            raise NotFusible(f"{name or 'it'}: {type(module).__name__} keeps running statistics")
    assert learner.feed.tensors is not None
    x, y = (tensor[:2] for tensor in learner.feed.tensors)
    probe = copy.copy(learner)
    probe.net = copy.deepcopy(learner.net).train()
    with RngState(0, learner.device).own():
        before = random_state(), {name: buffer.clone() for name, buffer in probe.net.named_buffers()}
        _check_gradients(probe, x, y)
        if random_state() != before[0]:
            raise NotFusible("its forward draws random numbers, and vmap has one generator for all lanes")
    if any(not torch.equal(buffer, before[1][name]) for name, buffer in probe.net.named_buffers()):
        raise NotFusible("its forward changes its buffers")
    try:
        banks = ParameterBanks()
        engine = VmapEngine([probe], banks)
        for bank in banks:
            bank.allocate()
        engine.losses(x[None], y[None])
    except Exception as error:  # of vmap, or of the user's forward
        line = " ".join(str(error).split())
        raise NotFusible(f"vmap refuses its forward ({type(error).__name__}: {line[:160]})") from None


def _check_gradients(probe: Learner, x: torch.Tensor, y: torch.Tensor) -> None:
    """Raise NotFusible unless a gradient reaches every trained parameter: vmap would return zeros."""
    outputs, targets = probe.meaning.pair(probe.net(x), y)
    probe.criterion_loss(outputs, targets).backward()  # type: ignore[no-untyped-call]
    for name, parameter in probe.net.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise NotFusible(f"no gradient reaches {name}")
