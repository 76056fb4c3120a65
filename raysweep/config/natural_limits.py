"""Natural bounds of hyperparameters with well-known names, in whatever class."""

from __future__ import annotations

import math

_SHARE = ("momentum", "beta", "beta1", "beta2", "ema_rate", "ema_decay", "dropout", "dropout_rate", "p_drop")
_POSITIVE = ("lr", "learning_rate", "max_lr", "base_lr", "eps")
_NOT_NEGATIVE = ("weight_decay", "min_lr", "eta_min", "warmup_steps")
_PROBABILITY = ("label_smoothing",)


def natural_limits(key: str) -> tuple[float, float, bool]:
    """Lowest and highest sensible value of a flat key, and whether the highest is included.

    A decay rate (momentum, a beta, an average's rate, dropout) is below one: at one nothing new comes in,
    above it the sum grows without bound.

    >>> natural_limits("optimizer_config.momentum"), natural_limits("net_config.nodes")
    ((0.0, 1.0, False), (-inf, inf, True))
    """
    name = key.rpartition(".")[2]
    if name in _SHARE:
        return 0.0, 1.0, False
    if name in _PROBABILITY:
        return 0.0, 1.0, True
    if name in (*_POSITIVE, *_NOT_NEGATIVE):
        return 0.0, math.inf, True
    return -math.inf, math.inf, True


def breaks_limits(key: str, value: float) -> str:
    """Why a value makes no sense for its name, or "".

    >>> breaks_limits("optimizer_config.momentum", 1.5)
    'is not a sensible momentum, which is below 1'
    """
    low, high, is_included = natural_limits(key)
    name = key.rpartition(".")[2]
    if value < low or (value == low and name in _POSITIVE):
        return f"is not a sensible {name}, which is {'above' if name in _POSITIVE else 'at least'} 0"
    if value > high or (value == high and not is_included):
        return f"is not a sensible {name}, which is {'at most' if is_included else 'below'} {high:g}"
    return ""
