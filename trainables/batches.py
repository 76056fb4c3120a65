"""Loads batches of rows: from the device if all rows fit there, else streamed to it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from trainables.data import AnySplit, DataPart, Split
from trainables.data_parts import rows_in_batches

Batch = tuple[torch.Tensor, torch.Tensor]
"""Inputs (batch, ...) and targets (batch, ...)."""

EVALUATION_BATCHES = 4  # batches validated at once: without gradients, four take the memory of one
RESIDENT_ON_CPU = 2 * 2**30  # bytes; larger data stay in the object store, in one copy for all trials


class BatchLoader:
    """Batches of the training rows, in a new order every epoch.

    The order is drawn on the CPU from a generator of its own, so it is the same on every device and
    independent of all other random numbers. Rows that fit on the device are shuffled as a whole and cut
    into batches there: a `DataLoader` would cost more than the net.

    Args:
        part: the rows.
        device: the device of the batches.
        batch_size: rows per batch; see `rows_in_batches`.
        seed: of the order.
        budget: bytes of the device that data may take; measured if None.
        dtype: type of the inputs in batches; that of the rows if None.
    """

    def __init__(
        self,
        part: DataPart,
        device: torch.device,
        batch_size: int,
        seed: int,
        budget: int | None = None,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.generator = torch.Generator().manual_seed(seed)
        self.rows = rows_in_batches(len(part.train), batch_size)
        self.batch_size = batch_size
        assert isinstance(part.train, Split)
        assert isinstance(part.val, Split)
        self.train, self.val = part.train, part.val
        self.epoch = 0  # used by lazy loaders only
        budget = device_budget(device) if budget is None else budget
        # Training rows count twice: in their order, and shuffled.
        self.resident = 2 * self._bytes(part.train) + self._bytes(part.val) <= budget
        self.tensors = self.put(part.train) if self.resident else None
        self.validation = self.put(part.val) if self.resident else None

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    @property
    def sizes(self) -> list[int]:
        """Rows in each batch of an epoch."""
        full, last = divmod(self.rows, self.batch_size)
        return [self.batch_size] * full + ([last] if last else [])

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(x, y) for each step of the next epoch."""
        order = torch.randperm(len(self.train.x), generator=self.generator)[: self.rows]
        if self.tensors is None:
            yield from self.stream(self.train, order.numpy())
            return
        rows = order.to(self.device)
        x, y = (tensor.index_select(0, rows) for tensor in self.tensors)
        yield from zip(torch.split(x, self.batch_size), torch.split(y, self.batch_size), strict=True)

    def validation_batches(self) -> Iterator[Batch]:
        """All validation rows, in order."""
        if self.validation is None:
            yield from self.all_of(self.val)
            return
        size = EVALUATION_BATCHES * self.batch_size
        yield from zip(*(torch.split(tensor, size) for tensor in self.validation), strict=True)

    def all_of(self, split: AnySplit) -> Iterator[Batch]:
        """All rows of a split, in order."""
        assert isinstance(split, Split)
        return self.stream(split, np.arange(len(split)))

    def some_inputs(self, rows: int, seed: int) -> Iterator[torch.Tensor]:
        """Inputs of about so many training rows, in batches of the training's size, always the same.

        They are drawn at random, as rows of a sorted table would vary too little within a batch.
        """
        size = self.batch_size
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        order = order[: size * math.ceil(rows / size)]
        order = order[: rows_in_batches(len(order), size)]
        return (x for x, _ in self.stream(self.train, order.numpy()))

    def probe(self, rows: int) -> Batch:
        """One batch of at most so many training rows, spread over all, as a table may be sorted."""
        return self.put(self.train.chosen(spread_rows(len(self.train), rows)))

    def first_input(self) -> torch.Tensor:
        """The first validation row, as a batch."""
        return self.inputs(self.val.x[:1])

    def stream(self, split: Split, order: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of `split` in this order, each copied to the device when it is needed.

        To a GPU they are copied asynchronously from pinned memory, while the rows of the next batch are
        gathered.
        """
        put = self.put_pinned if self.device.type == "cuda" else self.put
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            yield put(Split(split.x[rows], split.y[rows]))

    def put(self, split: Split) -> tuple[torch.Tensor, torch.Tensor]:
        """Copy rows to the device.

        Also on the CPU: arrays in the object store are read-only, and torch's own memory always has the
        same alignment, on which bit-equal results depend.
        """
        return self.inputs(split.x), torch.tensor(split.y, device=self.device)

    def put_pinned(self, split: Split) -> tuple[torch.Tensor, torch.Tensor]:
        """Copy rows to a GPU without waiting; they must not be changed by the caller."""
        x, y = (
            torch.from_numpy(rows).pin_memory().to(self.device, non_blocking=True)
            for rows in (split.x, split.y)
        )
        return (x if self.dtype is None else x.to(self.dtype)), y

    def inputs(self, x: np.ndarray) -> torch.Tensor:
        """Copy inputs to the device, in the type for the net."""
        return torch.tensor(x, device=self.device, dtype=self.dtype)

    def _bytes(self, split: Split) -> int:
        """Bytes of rows on the device."""
        size = split.x.itemsize if self.dtype is None else self.dtype.itemsize
        return int(split.x.size * size + split.y.nbytes)


def spread_rows(count: int, rows: int) -> np.ndarray:
    """Indices of at most so many rows, spread over all `count`."""
    return np.linspace(0, count - 1, min(rows, count)).astype(int)


def device_budget(device: torch.device) -> int:
    """Bytes of the device that data may take: on a GPU, half of this process's share."""
    if device.type != "cuda":
        return RESIDENT_ON_CPU
    total = torch.cuda.get_device_properties(device).total_memory
    return int(0.5 * total * torch.cuda.get_per_process_memory_fraction(device))
