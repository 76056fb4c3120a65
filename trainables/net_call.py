"""How a net is called: with inputs of which type, and whether by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from trainables.data import Data
from trainables.imports import parameters
from trainables.input_fields import InputField, unpack
from trainables.run_config import RunError


@dataclass(frozen=True, slots=True)
class NetCall:
    """How a net gets its inputs.

    Attributes:
        dtype: type of a batch; None for that of the rows.
        fields: named inputs, packed in a row; empty for a net of one tensor.
        by_name: whether the net takes them as keyword arguments, rather than as one dictionary.
    """

    dtype: torch.dtype | None = None
    fields: tuple[InputField, ...] = ()
    by_name: bool = False

    @classmethod
    def of(cls, net: nn.Module, data: Data, device: torch.device) -> NetCall:
        """How a net gets the inputs of these data."""
        if data.fields:
            return cls(None, data.fields, _takes_names(net, [field.name for field in data.fields]))
        return cls(_type_for(net, data, device))

    def answer(self, net: nn.Module, x: torch.Tensor | Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The net's outputs for a batch.

        Args:
            net: the net.
            x: inputs (batch, ...) in `dtype`; named ones packed, or by name.

        Raises:
            RunError: if they are no tensor.
        """
        if self.fields:
            named = unpack(x, self.fields) if isinstance(x, torch.Tensor) else x
            outputs = net(**named) if self.by_name else net(named)
        else:
            outputs = net(x)
        if not isinstance(outputs, torch.Tensor):
            raise RunError(
                f"net: its forward returns a {type(outputs).__name__}; return one tensor, (rows, ...)"
            )
        return outputs

    def as_json(self) -> dict[str, Any]:
        """JSON types, from which `from_json` rebuilds it."""
        fields = [{"name": each.name, "shape": list(each.shape), "dtype": each.dtype} for each in self.fields]
        dtype = None if self.dtype is None else str(self.dtype).removeprefix("torch.")
        return {"dtype": dtype, "fields": fields, "by_name": self.by_name}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> NetCall:
        """Rebuild it from the result of `as_json`."""
        fields = tuple(
            InputField(each["name"], tuple(each["shape"]), each["dtype"]) for each in plain["fields"]
        )
        dtypes = {None: None, "float32": torch.float32, "int64": torch.int64}
        return cls(dtypes[plain["dtype"]], fields, bool(plain["by_name"]))


def _type_for(net: nn.Module, data: Data, device: torch.device) -> torch.dtype | None:
    """The type in which a net gets its inputs; None for that of the data.

    A net that embeds whole numbers gets them as such, any other gets float32; which it is, is tried on two
    rows, unless `data_config.inputs` says it.
    """
    x = data.example
    if x.dtype.kind not in "iu":
        return None
    if data.inputs == "integer":
        return torch.int64
    if not any(isinstance(module, (nn.Embedding, nn.EmbeddingBag)) for module in net.modules()):
        return torch.float32
    rows, training = torch.tensor(x[:2], device=device).long(), net.training
    net.eval()
    try:
        with torch.no_grad():
            net(rows)
    except (RuntimeError, TypeError, ValueError):
        return torch.float32
    finally:
        net.train(training)
    return torch.int64


def _takes_names(net: nn.Module, names: Sequence[str]) -> bool:
    """Whether a net's `forward` takes inputs by these names, rather than all of them as one dictionary."""
    accepted = parameters(net.forward)
    return set(names) <= set(accepted) or any(each.kind is each.VAR_KEYWORD for each in accepted.values())
