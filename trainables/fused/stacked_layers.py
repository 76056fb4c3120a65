"""Layers of several lanes at once, from and to (lanes, batch, features), with hand-written gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from trainables.fused.batched_ops import BatchedOp, aligned_empty, fills_vectors
from trainables.fused.parameter_bank import ParameterBanks

aten = torch.ops.aten


class StackedLinear:
    """`x Wᵀ + b` of consecutive lanes; gradients are written to the banks.

    Args:
        first_lane: the lane of the first layer.
        layers: one of each lane, of equal sizes.
        banks: the parameters are added to them; allocated before the first call.
    """

    def __init__(self, first_lane: int, layers: Sequence[nn.Linear], banks: ParameterBanks) -> None:
        self.outputs, self.inputs = layers[0].weight.shape
        self._weights = _BankRows(banks, first_lane, [layer.weight for layer in layers])
        biases = [layer.bias for layer in layers if layer.bias is not None]
        self._biases = _BankRows(banks, first_lane, biases) if biases else None
        self._product = BatchedOp("bmm" if self._biases is None else "baddbmm")
        self._weight_gradients, self._bias_gradients = BatchedOp("bmm"), BatchedOp("sum_rows")
        self._input_gradients = BatchedOp("bmm")

    def forward(self, x: torch.Tensor, lanes: slice, out: torch.Tensor) -> None:
        """Outputs of some lanes: x (lanes, batch, inputs), out (lanes, batch, outputs)."""
        weights = self._weights.values(lanes).transpose(1, 2)
        biases = () if self._biases is None else (self._biases.values(lanes),)
        self._product(_layout_key(x, lanes), *biases, x, weights, out=out)

    def backward(self, g: torch.Tensor, x: torch.Tensor, lanes: slice, out: torch.Tensor | None) -> None:
        """Compute the gradients of the parameters, and those of the inputs into `out` if given."""
        key = _layout_key(x, lanes)
        self._weight_gradients(key, g.transpose(1, 2), x, out=self._weights.gradients(lanes))
        if self._biases is not None:
            self._bias_gradients(key, g, out=self._biases.gradients(lanes))
        if out is not None:
            self._input_gradients(key, g, self._weights.values(lanes), out=out)


def _layout_key(x: torch.Tensor, lanes: slice) -> tuple[int, ...]:
    """A key of the layouts of a layer's operands: all but the inputs are in the stack's own memory."""
    return lanes.start, *x.shape, x.data_ptr() % 64


class _BankRows:
    """Consecutive rows of a bank, one for each lane of a stacked layer."""

    def __init__(self, banks: ParameterBanks, first_lane: int, parameters: Sequence[torch.Tensor]) -> None:
        rows = [banks.add(first_lane + i, each) for i, each in enumerate(parameters)]
        self._bank, first = rows[0]
        self._rows = slice(first, first + len(rows))
        self._values: dict[int, torch.Tensor] = {}
        self._gradients: dict[int, torch.Tensor] = {}

    def values(self, lanes: slice) -> torch.Tensor:
        """The parameters of some lanes; each `lanes.start` must always come with the same `lanes.stop`."""
        if lanes.start not in self._values:
            self._values[lanes.start] = self._bank.value[self._rows][lanes]
        return self._values[lanes.start]

    def gradients(self, lanes: slice) -> torch.Tensor:
        """The gradients of the parameters of some lanes."""
        if lanes.start not in self._gradients:
            self._gradients[lanes.start] = self._bank.grad[self._rows][lanes]
        return self._gradients[lanes.start]


class Activations:
    """An elementwise function of each lane; neighbouring lanes with the same one are computed together.

    Args:
        modules: the function of each lane.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._runs = [(run, _Activation(modules[run.start])) for run in _runs([str(m) for m in modules])]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs of all lanes."""
        return _concatenate([function.forward(x[run]) for run, function in self._runs])

    def backward(self, g: torch.Tensor) -> torch.Tensor:
        """The gradients of the inputs."""
        return _concatenate([function.backward(g[run]) for run, function in self._runs])


class _Activation:
    """One function of several lanes.

    Its derivative is computed by the kernel in `_DERIVATIVES`, which autograd calls too, else by autograd.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._derivative = _DERIVATIVES.get(type(module))
        self._calls: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs, of all lanes at once if that is bit-equal to one lane after the other."""
        parts = [x] if fills_vectors(x) else x.unbind()
        self._calls = [self._apply(part) for part in parts]
        return _join_lanes([y.detach() for _, y in self._calls], x)

    def backward(self, g: torch.Tensor) -> torch.Tensor:
        """The gradient of the input."""
        parts = [g] if self._calls[0][0].ndim == g.ndim else g.unbind()
        calls, self._calls = self._calls, []
        return _join_lanes(
            [self._differentiate(part, *call) for part, call in zip(parts, calls, strict=True)], g
        )

    def _apply(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._derivative is not None:
            return x, self._module.forward(x)
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            return x, self._module.forward(x)

    def _differentiate(self, g: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self._derivative is not None:
            return self._derivative(self._module, g, x, y)
        return torch.autograd.grad(y, x, g)[0]


_DERIVATIVES: dict[
    type[nn.Module], Callable[[Any, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
] = {
    nn.ReLU: lambda module, g, x, y: aten.threshold_backward(g, y, 0),
    nn.GELU: lambda module, g, x, y: aten.gelu_backward(g, x, approximate=module.approximate),
    nn.SiLU: lambda module, g, x, y: aten.silu_backward(g, x),
    nn.Mish: lambda module, g, x, y: aten.mish_backward(g, x),
    nn.Tanh: lambda module, g, x, y: aten.tanh_backward(g, y),
    nn.Sigmoid: lambda module, g, x, y: aten.sigmoid_backward(g, y),
    nn.ELU: lambda module, g, x, y: aten.elu_backward(g, module.alpha, 1, 1, False, x),
    nn.LeakyReLU: lambda module, g, x, y: aten.leaky_relu_backward(g, x, module.negative_slope, False),
}
"""(module, gradient of the output, input, output) -> gradient of the input."""


def _join_lanes(parts: Sequence[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """The part itself if it has all lanes, else the lanes joined, each aligned."""
    if parts[0].ndim == like.ndim:
        return parts[0]
    out = aligned_empty(len(parts), parts[0].shape, like)
    for row, part in zip(out, parts, strict=True):
        row.copy_(part)
    return out


class StackedDropout:
    """Dropout with each lane's own probability and generator, as alone.

    Args:
        modules: one of each lane.
        generators: one of each lane.
    """

    def __init__(self, modules: Sequence[nn.Dropout], generators: Sequence[torch.Generator]) -> None:
        self._keep = [1 - module.p for module in modules]
        self._generators = generators
        # Divided as torch does it: a quotient of Python's might be rounded differently.
        self._scales = torch.cat([torch.ones(1).div_(keep or 1.0) for keep in self._keep])
        self._factors = torch.empty(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs: x / keep with probability keep, else 0."""
        self._factors = aligned_empty(x.shape[0], x.shape[1:], x)
        for mask, keep, generator in zip(self._factors.unbind(), self._keep, self._generators, strict=True):
            if 0 < keep < 1:
                mask.bernoulli_(keep, generator=generator)
            else:
                mask.fill_(keep)  # nothing is drawn
        self._scales = self._scales.to(x)
        self._factors.mul_(self._scales.view(-1, *(1 for _ in x.shape[1:])))
        return _multiply(x, self._factors)

    def backward(self, g: torch.Tensor) -> torch.Tensor:
        """The gradient of the input."""
        return _multiply(g, self._factors)


def _multiply(x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """The product, with aligned lanes."""
    return torch.mul(x, factors, out=aligned_empty(x.shape[0], x.shape[1:], x))


class StackedLayerNorm:
    """Layer norm over the features, lane by lane, as a kernel takes one lane's weights only.

    Args:
        first_lane: the lane of the first layer.
        layers: one of each lane.
        banks: the parameters are added to them.
    """

    def __init__(self, first_lane: int, layers: Sequence[nn.LayerNorm], banks: ParameterBanks) -> None:
        self._layers = layers
        self._weights = _BankRows(banks, first_lane, [layer.weight for layer in layers])
        self._biases = _BankRows(banks, first_lane, [layer.bias for layer in layers])
        self._saved: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(x - mean) / deviation * weight + bias, for each row."""
        all_lanes = slice(0, None)
        out, self._saved = [], []
        weights, biases = self._weights.values(all_lanes), self._biases.values(all_lanes)
        lanes = zip(x, self._layers, weights, biases, strict=True)
        for each, layer, weight, bias in lanes:
            y, mean, rstd = aten.native_layer_norm(each, layer.normalized_shape, weight, bias, layer.eps)
            out.append(y)
            self._saved.append((each, mean, rstd))
        return _join_lanes(out, x)

    def backward(self, g: torch.Tensor) -> torch.Tensor:
        """The gradient of the input; those of the parameters are written to the bank."""
        all_lanes, out = slice(0, None), []
        rows = zip(self._weights.values(all_lanes), self._biases.values(all_lanes), strict=True)
        gradients = zip(self._weights.gradients(all_lanes), self._biases.gradients(all_lanes), strict=True)
        for each, layer, saved, (weight, bias), (weight_gradient, bias_gradient) in zip(
            g, self._layers, self._saved, rows, gradients, strict=True
        ):
            x, mean, rstd = saved
            dx, dw, db = aten.native_layer_norm_backward(
                each, x, layer.normalized_shape, mean, rstd, weight, bias, [True, True, True]
            )
            weight_gradient.copy_(dw)
            bias_gradient.copy_(db)
            out.append(dx)
        return _join_lanes(out, g)


Follower = Activations | StackedDropout | StackedLayerNorm


class Followers:
    """The layers that follow a linear layer (or the input); they may differ from lane to lane.

    Args:
        layers: those of each lane, in order; neighbouring lanes with layers of the same kinds are stacked.
        generators: one of each lane.
        banks: the parameters of norms are added to them.
    """

    def __init__(
        self,
        layers: Sequence[tuple[nn.Module, ...]],
        generators: Sequence[torch.Generator],
        banks: ParameterBanks,
    ) -> None:
        self._runs = [
            (
                run,
                [
                    _stack_layers(run.start, modules, generators[run], banks)
                    for modules in zip(*layers[run], strict=True)
                ],
            )
            for run in _runs([tuple(map(_kind, each)) for each in layers])
        ]
        self._empty = not any(run for _, run in self._runs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs of all lanes, (lanes, batch, features)."""
        if self._empty:
            return x
        outputs = []
        for lanes, run in self._runs:
            y = x[lanes]
            for layer in run:
                y = layer.forward(y)
            outputs.append(y)
        return _concatenate(outputs)

    def backward(self, g: torch.Tensor) -> torch.Tensor:
        """Gradients of the inputs."""
        if self._empty:
            return g
        gradients = []
        for lanes, run in self._runs:
            y = g[lanes]
            for layer in reversed(run):
                y = layer.backward(y)
            gradients.append(y)
        return _concatenate(gradients)


def _kind(layer: nn.Module) -> type[nn.Module]:
    """The kind of a layer; layers of one kind can be stacked."""
    return type(layer) if isinstance(layer, (nn.Dropout, nn.LayerNorm)) else nn.Module


def _stack_layers(
    first_lane: int,
    modules: Sequence[nn.Module],
    generators: Sequence[torch.Generator],
    banks: ParameterBanks,
) -> Follower:
    first = modules[0]
    if isinstance(first, nn.Dropout):
        return StackedDropout([m for m in modules if isinstance(m, nn.Dropout)], generators)
    if isinstance(first, nn.LayerNorm):
        return StackedLayerNorm(first_lane, [m for m in modules if isinstance(m, nn.LayerNorm)], banks)
    return Activations(modules)


def _runs(values: Sequence[object]) -> list[slice]:
    """The slices of equal neighbours.

    >>> _runs(["a", "a", "b"])
    [slice(0, 2, None), slice(2, 3, None)]
    """
    bounds = [0, *(n for n in range(1, len(values)) if values[n] != values[n - 1]), len(values)]
    return [slice(begin, end) for begin, end in itertools.pairwise(bounds)]


def _concatenate(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """The lanes of all parts in one tensor, each aligned."""
    if len(parts) == 1:
        return parts[0]
    out = aligned_empty(sum(part.shape[0] for part in parts), parts[0].shape[1:], parts[0])
    return torch.cat(list(parts), out=out)
