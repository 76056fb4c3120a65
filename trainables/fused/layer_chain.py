"""Reads a net as a chain of layers, each of which takes the output of the one before."""

from __future__ import annotations

import copy
import operator
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx, nn

ELEMENTWISE = (
    nn.ReLU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.LeakyReLU,
    nn.Mish,
    nn.Sigmoid,
    nn.LogSigmoid,
    nn.Softplus,
    nn.Softsign,
    nn.Hardtanh,
    nn.ReLU6,
    nn.Hardswish,
    nn.Hardsigmoid,
)
"""Elementwise activations without parameters."""

_FUNCTIONS: dict[Any, type[nn.Module]] = {
    torch.relu: nn.ReLU,
    nn.functional.relu: nn.ReLU,
    nn.functional.gelu: nn.GELU,
    nn.functional.silu: nn.SiLU,
    torch.tanh: nn.Tanh,
    nn.functional.tanh: nn.Tanh,
    torch.sigmoid: nn.Sigmoid,
    nn.functional.sigmoid: nn.Sigmoid,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
"""Functions that a `forward` may call, with a layer's output as the only argument -> their modules."""


class NotFusible(Exception):
    """A learner cannot be fused, or not by this engine; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Block:
    """A linear layer and the layers that follow it, up to the next linear one."""

    linear: nn.Linear
    followers: tuple[nn.Module, ...]


@dataclass(frozen=True, slots=True)
class LayerChain:
    """A net of two-dimensional batches: a stem without parameters, hidden blocks, and the head."""

    stem: tuple[nn.Module, ...]
    hidden: tuple[Block, ...]
    head: Block

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Hidden blocks and head."""
        return (*self.hidden, self.head)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of all layers, in order."""
        for block in self.blocks:
            for layer in (block.linear, *block.followers):
                yield from layer.parameters()

    def shape(self) -> tuple[Any, ...]:
        """The sizes that chains must have in common to be stacked.

        With equal hidden widths, chains may differ in depth: a layer is stacked over those that have it.
        Other chains must have the same sizes throughout.
        """
        sizes = [
            (block.linear.in_features, block.linear.out_features, block.linear.bias is not None)
            for block in self.blocks
        ]
        widths = {size[1] for size in sizes[:-1]}
        biases = {size[2] for size in sizes}
        if len(widths) == 1 and len(biases) == 1:
            return ("even", sizes[0][0], widths.pop(), sizes[-1][1], biases.pop())
        return ("exact", *sizes)

    def draws(self) -> bool:
        """Whether training draws random numbers."""
        layers = (*self.stem, *(layer for block in self.blocks for layer in block.followers))
        return any(isinstance(layer, nn.Dropout) and layer.p > 0 for layer in layers)


def read_chain(net: nn.Module, row_dimensions: int) -> LayerChain:
    """The net's layers in the order in which rows pass through them.

    Args:
        net: the net.
        row_dimensions: number of dimensions of an input row; 1 for a vector.

    Raises:
        NotFusible: if it is no chain, or has a layer of an unsupported kind.
    """
    stem: list[nn.Module] = []
    blocks: list[tuple[nn.Linear, list[nn.Module]]] = []
    dimensions = row_dimensions
    for name, layer in _layers(net):
        followers = blocks[-1][1] if blocks else stem
        match layer:
            case nn.Flatten():
                if layer.start_dim != 1 or layer.end_dim != -1:
                    raise NotFusible(f"{name} flattens some dimensions only")
                dimensions = 1
            case nn.Linear() if dimensions > 1:
                raise NotFusible(f"{name} is applied to rows of {dimensions} dimensions")
            case nn.Linear():
                blocks.append((layer, []))
            case nn.LayerNorm() if not blocks or layer.weight is None or layer.bias is None:
                raise NotFusible(f"{name} is a LayerNorm without weights of its own, or before any Linear")
            case nn.LayerNorm() if layer.normalized_shape != (blocks[-1][0].out_features,):
                raise NotFusible(f"{name} normalises over something else than one row")
            case _:
                followers.append(layer)
    if not blocks:
        raise NotFusible("it has no Linear layer")
    parameters = [
        p for linear, followers in blocks for layer in (linear, *followers) for p in layer.parameters()
    ]
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise NotFusible("some of its layers share a parameter")
    *hidden, head = [Block(linear, tuple(followers)) for linear, followers in blocks]
    return LayerChain(tuple(stem), tuple(hidden), head)


def _layers(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of each layer; functions are replaced by their modules."""
    if type(net) is nn.Linear:
        _check_layer("it", net)
        yield "it", net
        return
    graph = _trace(net)
    before: fx.Node | None = None
    used: set[nn.Module] = set()
    for node in graph.nodes:
        if node.op == "output":
            if node.args[0] is not before:
                raise NotFusible("its output is not that of its last layer")
        elif node.op == "placeholder":
            if before is not None:
                raise NotFusible("its forward takes more than one input")
            before = node
        else:
            if list(node.all_input_nodes) != [before]:
                raise NotFusible(f"{_name(node)} is not fed by the layer before it alone")
            layer = _layer(net, node)
            if layer in used:
                raise NotFusible(f"{_name(node)} is used twice")
            used.add(layer)
            before = node
            if not isinstance(layer, nn.Identity):
                yield _name(node), layer


def _name(node: fx.Node) -> str:
    return str(node.target) if node.op == "call_module" else node.name


def _trace(net: nn.Module) -> fx.Graph:
    """The net's forward pass as a graph.

    Raises:
        NotFusible: if it cannot be traced, or draws random numbers or changes attributes, so that the next
            pass may differ.
    """
    for name, module in net.named_modules():
        hooks = (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        )
        if any(hooks):
            raise NotFusible(f"{name or 'it'} has hooks")
    before = random_state(), _plain_attributes(net)
    training = net.training
    net.train()
    try:
        graph = fx.Tracer().trace(net)
    except Exception as error:  # a forward that cannot be traced, such as one that branches on data
        raise NotFusible(f"its forward cannot be traced ({type(error).__name__})") from None
    finally:
        net.train(training)
    if (random_state(), _plain_attributes(net)) != before:
        raise NotFusible("its forward draws random numbers or changes attributes of its own")
    return graph


def _layer(net: nn.Module, node: fx.Node) -> nn.Module:
    """The layer of a node of the graph."""
    if node.op == "call_module":
        layer: nn.Module = operator.attrgetter(str(node.target))(net)
        _check_layer(str(node.target), layer)
        if getattr(layer, "inplace", False):
            layer = copy.copy(layer)
            layer.inplace = False  # type: ignore[assignment]  # a bool, no module
        return layer
    constants = [each for each in node.args if not isinstance(each, fx.Node)]
    if node.target in (torch.flatten, "flatten") and constants == [1] and not node.kwargs:
        return nn.Flatten()
    if node.target in _FUNCTIONS and not constants and not node.kwargs:
        return _FUNCTIONS[node.target]()
    raise NotFusible(f"{node.name} is not a layer")


def _check_layer(name: str, layer: nn.Module) -> None:
    kind = type(layer).__name__
    if getattr(layer, "running_mean", None) is not None:
        raise NotFusible(f"{name}: {kind} keeps running statistics")
    if type(layer) not in (nn.Linear, nn.LayerNorm, nn.Dropout, nn.Flatten, nn.Identity, *ELEMENTWISE):
        raise NotFusible(f"{name} is a {kind}")
    if any(not p.requires_grad or p.dtype != torch.float32 for p in layer.parameters()):
        raise NotFusible(f"{name} is frozen or not in float32")


def random_state() -> tuple[Any, ...]:
    """The state of torch's, numpy's and Python's global generators, for comparison."""
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002 - users' code draws from the global generator
    torch_state = torch.get_rng_state().numpy().tobytes()
    return torch_state, np.asarray(keys).tobytes(), position, random.getstate()


def _plain_attributes(net: nn.Module) -> list[tuple[str, object]]:
    return [
        (name, value)
        for module in net.modules()
        for name, value in vars(module).items()
        if isinstance(value, (bool, int, float, str)) and name != "training"
    ]
