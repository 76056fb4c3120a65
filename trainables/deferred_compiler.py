"""torch's compiler, imported by the processes that compile something, and by no other.

An optimizer of torch's asks the compiler to leave some of its methods alone, and imports it for that: more
than a second of CPU for each process of trials. As long as nobody else has imported it there is nothing to
ask. Optimizers that torch ships still import it in their first step of their own (`torch.optim.optimizer`,
`_use_grad_for_differentiable`); those of pytorch_optimizer and fused lanes take none of these.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

COMPILER = "torch._dynamo"
ASKED = "__dynamo_disable"
"""Where `torch._compile` keeps what the compiler made of a method."""

METHODS = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
"""Of `torch.optim.Optimizer`: those that are wrapped by `torch._compile._disable_dynamo`."""


def defer_compiler() -> None:
    """Have optimizers import torch's compiler only where something else has; do so any number of times."""
    for name in METHODS:
        wrapper = getattr(torch.optim.Optimizer, name)
        method = getattr(wrapper, "__wrapped__", None)
        if method is not None and not hasattr(method, ASKED):
            setattr(method, ASKED, _call_plainly(method, wrapper))


def _call_plainly(method: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """The method itself, until the compiler is there: from then on its wrapper, as torch has it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if COMPILER not in sys.modules:
            return method(*args, **kwargs)
        if getattr(method, ASKED, None) is call:
            delattr(method, ASKED)
        return wrapper(*args, **kwargs)

    return call
