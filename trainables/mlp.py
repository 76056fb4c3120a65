"""The multi-layer perceptron that most sweeps begin with."""

from __future__ import annotations

import torch
from torch import nn

ACTIVATIONS = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
}
NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class MLP(nn.Module):
    """`layers` hidden layers of `nodes` units each, then a linear layer out.

    A hidden layer is Linear, norm, activation, dropout, in this order; the last layer is bare, so the
    outputs are logits or plain numbers.

    Args:
        in_features: numbers per input row; filled in from the data.
        out_features: numbers per output row; filled in from the data.
        nodes: width of every hidden layer: the capacity.
        layers: hidden layers, >= 1: the depth.
        dropout: probability of silencing a hidden unit, in [0, 1).
        activation: a short name (relu, gelu, silu, tanh, elu, selu, leaky_relu, mish) or the name of
            a class in torch.nn.
        norm: None, "batch" (BatchNorm1d) or "layer" (LayerNorm).

    Raises:
        ValueError: if a number is out of its range or a name is unknown.

    >>> MLP(1, 1, nodes=64, layers=3)(torch.zeros(256, 1)).shape
    torch.Size([256, 1])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        nodes: int = 64,
        layers: int = 3,
        dropout: float = 0.0,
        activation: str = "relu",
        norm: str | None = None,
    ) -> None:
        super().__init__()
        if layers < 1 or nodes < 1:
            raise ValueError(f"an MLP needs layers >= 1 and nodes >= 1, not {layers} and {nodes}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a probability below 1, not {dropout}")
        if norm is not None and norm not in NORMS:
            raise ValueError(f"norm is None, 'batch' or 'layer', not {norm!r}")
        act = ACTIVATIONS.get(activation) or getattr(nn, activation, None)
        if act is None:
            raise ValueError(
                f"activation {activation!r} is neither one of {', '.join(ACTIVATIONS)} nor in torch.nn"
            )
        stack: list[nn.Module] = []
        width = in_features
        for _ in range(layers):
            stack.append(nn.Linear(width, nodes))
            if norm is not None:
                stack.append(NORMS[norm](nodes))
            stack.append(act())
            if dropout:
                stack.append(nn.Dropout(dropout))
            width = nodes
        self.stack = nn.Sequential(*stack, nn.Linear(width, out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map inputs (batch, ...) of in_features numbers each to (batch, out_features), float32."""
        out: torch.Tensor = self.stack(x.flatten(1))
        return out
