"""Reads inputs as one array; several named inputs are packed side by side in a row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trainables.run_config import RunError

if TYPE_CHECKING:
    import torch

EXACT_IN_FLOAT32 = 2**24
"""Whole numbers up to here are exact in float32."""


@dataclass(frozen=True, slots=True)
class InputField:
    """One of several named inputs in a packed row.

    Attributes:
        name: its name, as the net takes it.
        shape: its shape in one row.
        dtype: its type as the net gets it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "int64", "bool"]

    @property
    def size(self) -> int:
        """Numbers in one row."""
        return math.prod(self.shape)


def read_inputs(x: Any, kind: str | None, where: str) -> tuple[np.ndarray, tuple[InputField, ...]]:
    """Inputs as one array, and its fields if `x` is a dictionary.

    Args:
        x: an array of numbers (rows, ...), or name -> array.
        kind: "integer" or "float"; if None, whole numbers stay whole numbers, and all else becomes float32.
        where: name of the inputs in errors.

    Raises:
        RunError: if they are no arrays of numbers.
    """
    if isinstance(x, Mapping):
        return _pack(
            {str(name): _numbers(value, None, f"{where}[{name!r}]") for name, value in x.items()}, where
        )
    return _numbers(x, kind, where), ()


def unpack(x: torch.Tensor, fields: tuple[InputField, ...]) -> dict[str, torch.Tensor]:
    """The named inputs of a batch of packed rows, each in its own shape and type."""
    import torch

    pieces = torch.split(x, [field.size for field in fields], dim=1)
    return {
        field.name: piece.reshape(len(x), *field.shape).to(getattr(torch, field.dtype))
        for field, piece in zip(fields, pieces, strict=True)
    }


def _numbers(x: Any, kind: str | None, where: str) -> np.ndarray:
    """An array of float32, or of whole numbers in their own type, (rows, ...)."""
    if hasattr(x, "toarray") and hasattr(x, "nnz"):
        size = math.prod(x.shape) * 4 / 1e6
        raise RunError(
            f"{where}: it is a sparse matrix of {' x '.join(map(str, x.shape))}; return x.toarray(), "
            f"{size:.3g} MB as float32, or train on it by a loop of your own (`train:`)"
        )
    try:
        values = np.asarray(x)
    except ValueError:
        values = np.empty(0, dtype=object)
    if values.dtype.kind == "O" and hasattr(x, "columns"):
        raise RunError(
            f"{where}: the frame has columns that are no numbers; return trainables.data.Table(frame, target)"
        )
    if values.dtype.kind not in "fiub":
        what = "rows of different lengths" if _is_ragged(x) else f"{values.dtype} values"
        raise RunError(
            f"{where}: {what} cannot be inputs; return numbers, rows of one length (pad them), or train by a "
            "loop of your own (`train:`)"
        )
    values = values[:, None] if values.ndim == 1 else values
    if kind == "integer":
        if not (values == np.floor(values)).all():
            raise RunError(f"{where}: data_config.inputs is integer, and they are not all whole numbers")
        return values.astype(np.int64, copy=False)
    if kind is None and values.dtype.kind in "iu":
        # Bytes are the only unsigned numbers that torch computes with.
        return values.astype(np.int64) if values.dtype.kind == "u" and values.itemsize > 1 else values
    return values.astype(np.float32)


def _pack(named: dict[str, np.ndarray], where: str) -> tuple[np.ndarray, tuple[InputField, ...]]:
    """Named arrays side by side, (rows, numbers), in a type that represents all of them exactly."""
    if not named or len({len(values) for values in named.values()}) != 1:
        counts = ", ".join(f"{name}: {len(values)}" for name, values in named.items())
        raise RunError(
            f"{where}: a dictionary of inputs needs arrays of equally many rows; it has {counts or 'none'}"
        )
    fields = tuple(
        InputField(name, values.shape[1:], "int64" if values.dtype.kind in "iu" else "float32")
        for name, values in named.items()
    )
    whole = [values for values in named.values() if values.dtype.kind in "iu"]
    largest = max((int(np.abs(values).max()) for values in whole if values.size), default=0)
    packed_type: type[np.generic] = np.float32 if largest <= EXACT_IN_FLOAT32 else np.float64
    if len(whole) == len(named):
        packed_type = np.int64
    flat = [values.reshape(len(values), -1) for values in named.values()]
    return np.concatenate(flat, axis=1, dtype=packed_type), fields


def _is_ragged(x: Any) -> bool:
    try:
        return len({np.shape(row) for row in list(x)[:1000]}) > 1
    except ValueError:
        return True
