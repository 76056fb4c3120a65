"""Groups of a net's parameters, as its optimizer trains them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from trainables.run_config import ParameterGroup, RunError

FACTOR = "lr_factor"
"""Key of an optimizer's group for its learning rate as a multiple of the others'."""


def named_groups(net: nn.Module, groups: Mapping[str, ParameterGroup]) -> list[dict[str, Any]]:
    """The trained parameters of `net` as torch's optimizers take them; those without a group come first.

    Args:
        net: its parameters that require gradients are used, in their order.
        groups: name -> group; a parameter belongs to the first that matches it.

    Raises:
        RunError: if no parameter is left for a group.
    """
    parameters = {name: p for name, p in net.named_parameters() if p.requires_grad}
    members: dict[str | None, list[nn.Parameter]] = {name: [] for name in (None, *groups)}
    for name, parameter in parameters.items():
        owner = next((key for key, group in groups.items() if group.takes(name, parameter.ndim)), None)
        members[owner].append(parameter)
    for key in groups:
        if not members[key]:
            names = ", ".join(list(parameters)[:8]) + (", ..." if len(parameters) > 8 else "")
            raise RunError(f"param_groups.{key}: no parameter is left for it; the net has {names}")
    rest = [{"params": members[None]}] if members[None] or not groups else []
    return rest + [
        {"params": members[key], FACTOR: group.lr_factor, **group.optimizer_config}
        for key, group in groups.items()
    ]


def apply_lr_factors(optimizer: torch.optim.Optimizer) -> None:
    """Multiply each group's learning rate by its factor; call it once, on a new optimizer."""
    for group in optimizer.param_groups:
        if FACTOR in group and "lr" in group:  # some optimizers have no learning rate
            group["lr"] *= group[FACTOR]
