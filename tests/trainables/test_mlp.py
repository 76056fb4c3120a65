"""The MLP."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from trainables.mlp import MLP


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh", "Softplus"])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_a_batch_of_any_row_shape_becomes_a_batch_of_outputs(activation: str, norm: str | None) -> None:
    net = MLP(12, 3, nodes=8, layers=2, dropout=0.1, activation=activation, norm=norm)
    assert net(torch.zeros(5, 3, 4)).shape == (5, 3)


@pytest.mark.parametrize("layers", [1, 3, 6])
def test_layers_counts_the_hidden_ones(layers: int) -> None:
    linear = [module for module in MLP(1, 1, layers=layers).modules() if isinstance(module, nn.Linear)]
    assert len(linear) == layers + 1


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"layers": 0}, "layers >= 1"),
        ({"dropout": 1.0}, "dropout is a probability below 1"),
        ({"norm": "group"}, "norm is None, 'batch' or 'layer'"),
        ({"activation": "rleu"}, "activation 'rleu' is neither"),
    ],
)
def test_a_value_out_of_range_says_so(kwargs: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MLP(1, 1, **kwargs)
