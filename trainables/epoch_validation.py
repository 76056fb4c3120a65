"""Validates the epochs that a custom loop yields."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from trainables.function_loop import MetricsEpoch
from trainables.run_config import RunError, name_fault
from trainables.training import Epoch


def validate_epoch(epoch: Any, loop: str, due: int) -> Epoch:
    """The epoch with its losses and metrics as floats; one-element tensors and arrays are converted.

    Args:
        epoch: the yielded value.
        loop: dotted path of the loop.
        due: the number that the epoch should have.

    Raises:
        RunError: if it is no Epoch, has another number, or a field is not numeric.

    >>> validate_epoch(Epoch(1, torch.tensor(0.5), 0.25), "my.train", 1).train_loss
    0.5
    """
    if not isinstance(epoch, Epoch):
        raise RunError(
            f"train: {loop} yields {type(epoch).__name__}; it should yield trainables.training.Epoch"
        )
    number: Any = epoch.number
    if isinstance(number, np.integer):
        number = number.item()
    if type(number) is not int or number != due:
        raise RunError(
            f"train: {loop} yields epoch {number!r} where {due} was due; yield one Epoch "
            "for each pass over the data, numbered 1, 2, 3, ... (after `load` from where it was saved on)"
        )
    in_dict = isinstance(epoch, MetricsEpoch)
    yields = f"train: {loop} yields {'a dictionary' if in_dict else 'an Epoch'}"
    names = ("train_loss", "val_loss", "lr", "grad_norm", "seconds")
    fields = {name: repr(name) if in_dict else name for name in names}
    numbers: dict[str, Any] = {
        name: _number(getattr(epoch, name), f"{yields} whose {written}") for name, written in fields.items()
    }
    metrics = {}
    for name, value in epoch.metrics.items():
        written = repr(name) if in_dict else f"metrics[{name!r}]"
        if fault := name_fault(str(name)):
            raise RunError(f"{yields} with {written}: {fault}")
        metrics[name] = _number(value, f"{yields} whose {written}")
    return replace(epoch, number=number, **numbers, metrics=metrics)


def _number(value: Any, whose: str) -> float:
    """The value as a float; `whose` begins the error."""
    if isinstance(value, (int, float, np.number)):
        return float(value)
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value.detach())
    if isinstance(value, np.ndarray) and value.size == 1:
        return float(value.item())
    what = f"of shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)[:60]
    raise RunError(f"{whose} is {type(value).__name__} {what}; it should be a number")
