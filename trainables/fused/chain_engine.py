"""Computes losses and gradients of several nets that are chains of layers together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from trainables.fused.batched_ops import aligned_empty
from trainables.fused.layer_chain import LayerChain
from trainables.fused.parameter_bank import ParameterBanks
from trainables.fused.stacked_layers import Followers, StackedLinear
from trainables.fused.stacked_losses import StackedLoss


class Engine(Protocol):
    """Computes the losses of all lanes, and writes their gradients to the banks."""

    def losses(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses (lanes,) and outputs (lanes, batch, ...) for inputs and targets (lanes, batch, ...)."""
        ...


class ChainEngine:
    """Hand-written forward and backward passes, bit-equal to each lane alone on the CPU.

    Lanes are in order of decreasing depth, so that those that have a layer are the first ones.

    Args:
        chains: one of each lane, of equal `shape()`.
        generators: one of each lane, for its dropout.
        banks: the parameters are added to them.
        loss: the criterion.
    """

    def __init__(
        self,
        chains: Sequence[LayerChain],
        generators: Sequence[torch.Generator],
        banks: ParameterBanks,
        loss: StackedLoss,
    ) -> None:
        self._loss, self._banks = loss, banks
        self._stem = Followers([chain.stem for chain in chains], generators, banks)
        self._levels: list[tuple[StackedLinear, Followers]] = []
        depths = [len(chain.hidden) for chain in chains]
        for level in range(depths[0]):
            blocks = [chain.hidden[level] for chain in chains if len(chain.hidden) > level]
            linear = StackedLinear(0, [block.linear for block in blocks], banks)
            followers = Followers([block.followers for block in blocks], generators, banks)
            self._levels.append((linear, followers))
        self._active = [sum(depth > level for depth in depths) for level in range(depths[0])]
        self._head = StackedLinear(0, [chain.head.linear for chain in chains], banks)
        self._head_followers = Followers([chain.head.followers for chain in chains], generators, banks)
        self._ends = [
            (depth, slice(depths.index(depth), depths.index(depth) + depths.count(depth)))
            for depth in sorted(set(depths), reverse=True)
        ]  # number of hidden blocks -> lanes whose head follows them
        self._memory: dict[tuple[str, int, int], torch.Tensor] = {}

    def losses(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Engine.losses`; x is (lanes, batch, features)."""
        inputs, outputs = self._forward(x)
        losses, g = self._loss(outputs, y)
        self._backward(g, inputs)
        return losses, outputs

    def _forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The inputs of each level, of which the last is for the heads only, and the outputs."""
        inputs = [self._stem.forward(x)]
        for level, (linear, followers) in enumerate(self._levels):
            active = self._active[level]
            out = self._buffer("forward", level, active, x.shape[1], linear.outputs)
            linear.forward(inputs[-1][:active], slice(0, active), out)
            inputs.append(followers.forward(out))
        out = self._buffer("head", 0, len(x), x.shape[1], self._head.outputs)
        for depth, lanes in self._ends:
            self._head.forward(inputs[depth][lanes], lanes, out[lanes])
        return inputs, self._head_followers.forward(out)

    def _backward(self, g: torch.Tensor, inputs: Sequence[torch.Tensor]) -> None:
        g = self._head_followers.backward(g)
        gradients = [
            self._buffer("backward", level, active, g.shape[1], self._levels[level][0].outputs)
            for level, active in enumerate(self._active)
        ]  # of each hidden block's outputs
        for depth, lanes in self._ends:
            self._head.backward(
                g[lanes], inputs[depth][lanes], lanes, gradients[depth - 1][lanes] if depth else None
            )
        for level in reversed(range(len(self._levels))):
            linear, followers = self._levels[level]
            active = self._active[level]
            output_gradients = followers.backward(gradients[level])
            input_gradients = gradients[level - 1][:active] if level else None
            linear.backward(output_gradients, inputs[level][:active], slice(0, active), input_gradients)

    def _buffer(self, use: str, level: int, lanes: int, batch: int, features: int) -> torch.Tensor:
        """Memory that is reused by every step of this batch size."""
        key = use, level, batch
        if key not in self._memory:
            like = next(iter(self._banks)).value
            self._memory[key] = aligned_empty(lanes, (batch, features), like)
        return self._memory[key]
