"""A batched operation is used only where it is bit-equal to single ones."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.fused import batched_ops
from trainables.fused.batched_ops import ALIGNMENT, BatchedOp, add_scaled, aligned_empty, lerp_rows

SHAPES = {
    "bmm": lambda m, n, k: ((m, k), (k, n), (m, n)),
    "baddbmm": lambda m, n, k: ((n,), (m, k), (k, n), (m, n)),
    "sum_rows": lambda m, n, k: ((m, n), (n,)),
}

SINGLE = {
    "bmm": lambda a, b: a @ b,
    "baddbmm": torch.addmm,
    "sum_rows": lambda x: x.sum(0),
}

size = st.sampled_from([1, 2, 3, 7, 10, 16, 29, 64])


@settings(max_examples=40)
@given(name=st.sampled_from(sorted(SHAPES)), lanes=st.integers(1, 4), m=size, n=size, k=size)
def test_a_batched_operation_has_the_bits_of_single_ones(
    name: str, lanes: int, m: int, n: int, k: int
) -> None:
    like = torch.empty(0)
    *operands, out = (aligned_empty(lanes, shape, like).normal_() for shape in SHAPES[name](m, n, k))  # type: ignore[no-untyped-call]
    BatchedOp(name)("any", *operands, out=out)
    for lane in range(lanes):
        assert torch.equal(out[lane], SINGLE[name](*(operand[lane].clone() for operand in operands)))  # type: ignore[operator]


def test_an_operation_that_rounds_otherwise_is_done_lane_by_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_bit_off(a: torch.Tensor, b: torch.Tensor, *, out: torch.Tensor) -> torch.Tensor:
        torch.bmm(a, b, out=out)
        last = out[-1, -1, -1]
        last.copy_(torch.nextafter(last, torch.tensor(torch.inf)))
        return out

    monkeypatch.setitem(batched_ops._BATCHED, "bmm", one_bit_off)
    a, b = torch.randn(3, 23, 5), torch.randn(3, 5, 19)
    out = torch.empty(3, 23, 19)
    BatchedOp("bmm")("any", a, b, out=out)
    assert torch.equal(out, torch.stack([x @ y for x, y in zip(a, b, strict=True)]))


@pytest.mark.parametrize("length", [1, 7, 15, 16, 17, 63, 64, 100])
def test_row_operations_have_the_bits_of_torch_on_each_row(length: int) -> None:
    x, y = (aligned_empty(3, (length,), torch.empty(0)).normal_() for _ in range(2))
    weights = [0.1, 0.5, 0.999]
    added = [row.add(other, alpha=weight) for row, other, weight in zip(x, y, weights, strict=True)]
    drawn = [row.lerp(other, weight) for row, other, weight in zip(x, y, weights, strict=True)]
    moved = aligned_empty(3, (length,), x).copy_(x)
    add_scaled(moved, y, torch.tensor(weights)[:, None])
    assert torch.equal(moved, torch.stack(added))
    lerp_rows(x, y, weights)
    assert torch.equal(x, torch.stack(drawn))


def test_every_lane_begins_at_an_aligned_address() -> None:
    lanes = aligned_empty(4, (3, 5), torch.empty(0))
    assert all(lane.is_contiguous() and lane.data_ptr() % ALIGNMENT == 0 for lane in lanes)
