"""Batched operations whose results are bit-equal to those of each lane alone.

A batched product costs much less to call than single ones, but for some shapes a library (MKL) uses another
algorithm, and then the last bits differ. For which shapes is undocumented and depends on the machine. So each
layout of operands is compared once per process, on random numbers, with single operations; if results differ,
it is computed lane by lane. This covers products and reductions, where another order of summation changes
most results. Elementwise functions differ only at the end of a tensor, where a kernel falls back from vectors
to single numbers; `fills_vectors` tells whether no lane has such an end.

On devices other than the CPU bit-equality is not guaranteed, and everything is batched.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch

ALIGNMENT = 64
"""In numbers. Lanes begin at multiples of it, as separate tensors begin at an aligned address; and a length
that is a multiple of it has no remainder in any vector loop (AVX-512: 2 x 16 float32)."""

COMPARED = 4096
"""Number of results compared before a layout is taken to be exact."""

MOST_DRAWS = 32
"""Maximum number of random operands for it, if each gives few results."""

Layout = tuple[tuple[int, ...], tuple[int, ...], int]
"""Shape, strides, and the address modulo 64 bytes."""


def aligned_empty(lanes: int, shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """Memory for one tensor of `shape` per lane, (lanes, *shape); each lane is contiguous and aligned."""
    numel = math.prod(shape)
    stride = -(-numel // ALIGNMENT) * ALIGNMENT
    return like.new_empty(lanes, stride)[:, :numel].view(lanes, *shape)


def fills_vectors(x: torch.Tensor) -> bool:
    """Whether an elementwise function of (lanes, ...) is bit-equal to one applied lane by lane."""
    return not x.is_cpu or x.shape[0] == 1 or (x.is_contiguous() and x.stride(0) % ALIGNMENT == 0)


class BatchedOp:
    """An operation of a computation on all lanes, batched where that is exact.

    Args:
        name: "bmm": (lanes, m, k), (lanes, k, n) -> (lanes, m, n); "baddbmm": the same with a bias (lanes, n)
            before it, which is added to every row; "sum_rows": (lanes, rows, n) -> (lanes, n).
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._batched, self._single = _BATCHED[name], _SINGLE[name]
        self._exact: dict[object, bool] = {}

    def __call__(self, key: object, *operands: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """The result, in `out`.

        Args:
            key: equal for operands of equal layout, whose comparison it saves.
            operands: each of shape (lanes, ...).
            out: memory of the result.
        """
        is_exact = self._exact.get(key)
        if is_exact is None:
            is_exact = self._exact[key] = _is_exact(self._name, *operands, out)
        if is_exact:
            return self._batched(*operands, out=out)
        for *lane, result in zip(*(operand.unbind() for operand in operands), out.unbind(), strict=True):
            self._single(*lane, out=result)
        return out


def add_scaled(x: torch.Tensor, y: torch.Tensor, scales: torch.Tensor) -> None:
    """`x.add_(y, alpha=scale)` with a scale for each row: x, y (rows, ...), scales (rows, 1, ...)."""
    if x.device.type != "cpu" or _addcmul_is_add(torch.get_num_threads()):
        x.addcmul_(y, scales)
        return
    for each, other, scale in zip(x, y, scales.flatten().tolist(), strict=True):
        each.add_(other, alpha=scale)


def lerp_rows(x: torch.Tensor, end: torch.Tensor, weights: Sequence[float]) -> None:
    """`x.lerp_(end, weight)` with a weight for each row: x, end (rows, ...)."""
    if len(set(weights)) == 1:
        x.lerp_(end, weight=weights[0])
        return
    for each, towards, weight in zip(x, end, weights, strict=True):
        each.lerp_(towards, weight=weight)


_BATCHED: dict[str, Callable[..., torch.Tensor]] = {
    "bmm": torch.bmm,
    "baddbmm": lambda bias, a, b, out: torch.baddbmm(bias[:, None], a, b, out=out),
    "sum_rows": lambda x, out: torch.sum(x, 1, out=out),
}

_SINGLE: dict[str, Callable[..., torch.Tensor]] = {
    "bmm": torch.mm,
    "baddbmm": torch.addmm,
    "sum_rows": lambda x, out: torch.sum(x, 0, out=out),
}


def _is_exact(name: str, *tensors: torch.Tensor) -> bool:
    """Whether the batched operation on tensors of these layouts is bit-equal to single ones."""
    if tensors[0].device.type != "cpu":
        return True
    if len(tensors[0]) == 1:
        return False  # nothing to gain
    return _compare(name, torch.get_num_threads(), tensors[0].dtype, *map(_layout, tensors))


def _layout(x: torch.Tensor) -> Layout:
    return tuple(x.shape), x.stride(), x.data_ptr() % 64


@functools.cache
def _compare(name: str, threads: int, dtype: torch.dtype, *layouts: Layout) -> bool:
    """Whether it is exact on random operands; the last layout is that of the result."""
    generator = torch.Generator().manual_seed(0)
    results = math.prod(layouts[-1][0])
    for _ in range(min(MOST_DRAWS, -(-COMPARED // max(results, 1)))):
        operands = [_random(layout, dtype, generator) for layout in layouts]
        batched = _BATCHED[name](*operands[:-1], out=operands[-1])
        for lane, result in enumerate(batched):
            # Tensors of a trial alone have the alignment of the first lane's.
            single = [
                _like_first_lane(operand[lane], layout)
                for operand, layout in zip(operands, layouts, strict=True)
            ]
            if not torch.equal(_SINGLE[name](*single[:-1], out=single[-1]), result):
                return False
    return True


def _random(layout: Layout, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    shape, strides, address = layout
    return _empty(shape, strides, address, dtype).copy_(torch.randn(shape, generator=generator, dtype=dtype))


def _like_first_lane(x: torch.Tensor, layout: Layout) -> torch.Tensor:
    return _empty(tuple(x.shape), x.stride(), layout[2], x.dtype).copy_(x)


def _empty(
    shape: tuple[int, ...], strides: tuple[int, ...], address: int, dtype: torch.dtype
) -> torch.Tensor:
    offset = address // dtype.itemsize
    extent = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    return torch.empty(offset + max(extent, 1), dtype=dtype).as_strided(shape, strides, offset)


@functools.cache
def _addcmul_is_add(threads: int) -> bool:
    """Whether x + y * scale is rounded alike in `addcmul_` and `add_`, in vectors and in remainders."""
    generator = torch.Generator().manual_seed(0)
    for length in range(1, 2 * ALIGNMENT):
        x, y = torch.randn(2, 32, length, generator=generator)
        scales = torch.randn(32, 1, generator=generator)
        padded = aligned_empty(32, (length,), x).copy_(x)
        added = torch.stack(
            [each.add(o, alpha=s) for each, o, s in zip(x, y, scales.flatten().tolist(), strict=True)]
        )
        if not torch.equal(padded.addcmul_(y, scales), added):
            return False
    return True
