"""Averaged weights, which some optimizers keep beside the trained ones: SPlus, schedule-free."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn


class AveragedWeights:
    """Puts an optimizer's averaged weights into the net temporarily.

    Such an optimizer has methods `eval` and `train`, which exchange the trained weights for the averaged
    ones and back.

    Args:
        net: the trained net.
        optimizer: over its parameters.
    """

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.net, self.optimizer = net, optimizer
        self.supported = all(callable(getattr(optimizer, name, None)) for name in ("eval", "train"))

    @property
    def exist(self) -> bool:
        """Whether there is an average, as from the first step on."""
        return self.supported and bool(self.optimizer.state)

    @contextlib.contextmanager
    def applied(self, forward: Callable[[], None]) -> Iterator[None]:
        """Put the averaged weights into the net within the block, and the trained ones back afterwards.

        The running statistics of batch normalisation belong to the trained weights. For the averaged
        ones they are recomputed as the mean over the batches of `forward`, as
        `torch.optim.swa_utils.update_bn` does, but with dropout off, as in validation.

        Args:
            forward: passes some training batches through the net; called only if there are such layers.
        """
        layers = [layer for layer in self.net.modules() if layer.training and _keeps_statistics(layer)]
        kept = [(buffer, buffer.clone()) for layer in layers for buffer in layer.buffers(recurse=False)]
        self._switch("eval")
        try:
            if layers:
                self._recompute(layers, forward)
            yield
        finally:
            self._switch("train")
            for buffer, value in kept:
                buffer.copy_(value)

    def _recompute(self, layers: list[nn.Module], forward: Callable[[], None]) -> None:
        momenta = [layer.momentum for layer in layers]
        self.net.eval()
        for layer in layers:
            layer.reset_running_stats()  # type: ignore[operator]
            layer.momentum = None  # type: ignore[assignment] # a cumulative mean, with equal weights
            layer.train()
        try:
            with torch.no_grad():
                forward()
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum

    def _switch(self, method: str) -> None:
        """Call `eval` or `train` of the optimizer, for the parameters that have been trained.

        SPlus raises KeyError for a parameter that no gradient has reached, as it keeps no average of it.
        """
        groups = self.optimizer.param_groups
        whole = [group["params"] for group in groups]
        for group in groups:
            group["params"] = [each for each in group["params"] if self.optimizer.state.get(each)]
        try:
            getattr(self.optimizer, method)()
        finally:
            for group, parameters in zip(groups, whole, strict=True):
                group["params"] = parameters


def _keeps_statistics(layer: nn.Module) -> bool:
    """Whether a layer normalises by running statistics: batch norm, instance norm that tracks them."""
    return getattr(layer, "running_mean", None) is not None and hasattr(layer, "reset_running_stats")
