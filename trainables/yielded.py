"""What a loop of the user's own yields: an `Epoch` of plain numbers, or one line that says why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from trainables.run import RunError
from trainables.training import Epoch


def checked(epoch: Any, loop: str) -> Epoch:
    """The epoch with its losses and metrics as floats: one-element tensors and arrays are taken as such.

    Args:
        epoch: what the loop yielded.
        loop: its dotted path.

    Raises:
        RunError: if it is no Epoch, or one of its numbers is none.

    >>> checked(Epoch(1, torch.tensor(0.5), 0.25), "my.train").train_loss
    0.5
    """
    if not isinstance(epoch, Epoch):
        raise RunError(
            f"train: {loop} yields {type(epoch).__name__}; it should yield trainables.training.Epoch"
        )
    names = ("train_loss", "val_loss", "lr", "grad_norm", "seconds")
    numbers: dict[str, Any] = {name: _number(getattr(epoch, name), name, loop) for name in names}
    metrics = {name: _number(value, f"metrics[{name!r}]", loop) for name, value in epoch.metrics.items()}
    return replace(epoch, **numbers, metrics=metrics)


def _number(value: Any, name: str, loop: str) -> float:
    if isinstance(value, (int, float, np.number)):
        return float(value)
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value.detach())
    if isinstance(value, np.ndarray) and value.size == 1:
        return float(value.item())
    what = f"of shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)[:60]
    raise RunError(
        f"train: {loop} yields an Epoch whose {name} is {type(value).__name__} {what}; it should be a number"
    )
