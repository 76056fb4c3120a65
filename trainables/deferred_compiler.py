"""Defers the import of torch's compiler until something else imports it.

Optimizers import the compiler only to exclude some of their methods from compilation: more than a second of
CPU for each process of trials. While nothing else has imported it, this is not needed. The optimizers that
torch ships still import it in their first step (`torch.optim.optimizer`, `_use_grad_for_differentiable`);
those of pytorch_optimizer and fused lanes do not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

COMPILER = "torch._dynamo"
ASKED = "__dynamo_disable"
"""Attribute in which `torch._compile` keeps the compiler's version of a method."""

METHODS = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
"""Methods of `torch.optim.Optimizer` that are wrapped by `torch._compile._disable_dynamo`."""


def defer_compiler() -> None:
    """Let optimizers use torch's compiler only if something else has imported it. Idempotent."""
    for name in METHODS:
        wrapper = getattr(torch.optim.Optimizer, name)
        method = getattr(wrapper, "__wrapped__", None)
        if method is not None and not hasattr(method, ASKED):
            setattr(method, ASKED, _call_plainly(method, wrapper))


def _call_plainly(method: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """The method itself until the compiler is imported, then torch's wrapper of it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if COMPILER not in sys.modules:
            return method(*args, **kwargs)
        if getattr(method, ASKED, None) is call:
            delattr(method, ASKED)
        return wrapper(*args, **kwargs)

    return call
