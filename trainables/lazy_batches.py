"""Loads batches of lazy rows from a user's Dataset or DataLoader."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from trainables.batches import Batch, spread_rows
from trainables.data import DataPart, Split
from trainables.data_function import is_stream, pair_of
from trainables.data_parts import rows_in_batches
from trainables.lazy_loading import batches_of, draws, loader
from trainables.lazy_split import LazySplit
from trainables.run_config import RunError

VALIDATION_SEED = 0
"""Seed of a dataset's random numbers for validation rows: the same at every epoch, of every trial."""


class LazyBatchLoader:
    """Batches of a user's dataset, with the interface of `trainables.batches.BatchLoader`.

    Rows are in a new order every epoch, unless the source has an order of its own. The random numbers of a
    dataset, in this process or in workers, are seeded every epoch by this loader's generator: the same
    trial gets the same batches, with or without resuming from a checkpoint.

    Args:
        part: lazy rows.
        device: the device of the batches.
        batch_size: rows per batch.
        seed: of the order and of the dataset's random numbers.
        dtype: type of whole-number inputs; float32 if None.
    """

    resident = False
    tensors = None

    def __init__(
        self,
        part: DataPart,
        device: torch.device,
        batch_size: int,
        seed: int,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        assert isinstance(part.train, LazySplit)
        assert isinstance(part.val, LazySplit)
        self.train, self.val, self.device = part.train, part.val, device
        self.batch_size, self.dtype = batch_size, dtype
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch = 0  # done so far
        self.rows = len(part.train)

    @property
    def sizes(self) -> list[int]:
        """Rows in each batch of an epoch, if all are full."""
        return [self.batch_size] * len(self)

    def __len__(self) -> int:
        return self.train.steps or batches_of(self.train.source, len(self.train), self.batch_size)

    def batches(self) -> Iterator[Batch]:
        """(x, y) for each batch of the next epoch.

        Raises:
            RunError: if a stream ends before its epoch does.
        """
        seed = int(torch.randint(2**31, (), generator=self.generator))
        order = torch.randperm(len(self.train), generator=self.generator)
        count = 0
        for batch in itertools.islice(self._load(self.train, order.numpy(), seed, training=True), len(self)):
            count += 1
            yield batch
        if count < len(self) and is_stream(self.train.source):
            raise RunError(
                f"{self.train.name}: the stream ended after {count} of {len(self)} batches of an epoch; set "
                f"data_config.steps_per_epoch: {max(1, count)}"
            )

    def validation_batches(self) -> Iterator[Batch]:
        """All validation rows, in order."""
        return self.all_of(self.val)

    def all_of(self, split: Split | LazySplit) -> Iterator[Batch]:
        """All rows of a split, in order."""
        assert isinstance(split, LazySplit)
        batches = self._load(split, np.arange(len(split)), VALIDATION_SEED)
        return itertools.islice(batches, split.steps)

    def some_inputs(self, rows: int, seed: int) -> Iterator[torch.Tensor]:
        """Inputs of about so many training rows, in batches of the training's size, always the same."""
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        batches = self._load(self.train, order.numpy(), seed, training=True)
        return (x for x, _ in itertools.islice(batches, min(len(self), -(-rows // self.batch_size))))

    def probe(self, rows: int) -> Batch:
        """One batch of at most so many training rows, spread over all."""
        indices = spread_rows(len(self.train), rows)
        return next(self._load(self.train, indices, VALIDATION_SEED, batch_size=rows))

    def first_input(self) -> torch.Tensor:
        """The first validation row, as a batch."""
        return torch.tensor(self.val.example[:1], device=self.device, dtype=self.dtype)

    def _load(
        self,
        split: LazySplit,
        indices: np.ndarray,
        seed: int,
        *,
        training: bool = False,
        batch_size: int | None = None,
    ) -> Iterator[Batch]:
        """Batches of these rows of the split, or of all if rows cannot be chosen."""
        size = batch_size or self.batch_size
        order = None
        if split.rows is not None:
            count = rows_in_batches(len(indices), size) if training else len(indices)
            order = split.rows[indices[:count]].tolist()
        batches = loader(
            split.source,
            size,
            order=order,
            seed=seed,
            num_workers=split.num_workers,
            training=training,
            pin=self.device.type == "cuda",
        )
        for item in draws(batches, seed, self.epoch):
            x, y = pair_of(item, split.name)
            yield self._inputs(x, split.name), torch.tensor(split.encoder.encode(y), device=self.device)

    def _inputs(self, x: Any, name: str) -> Any:
        """Inputs on the device, in the types for the net: a tensor, or tensors by name."""
        if isinstance(x, Mapping):
            return {str(key): self._tensor(value, torch.int64, name) for key, value in x.items()}
        return self._tensor(x, self.dtype or torch.float32, name)

    def _tensor(self, value: Any, integer_type: torch.dtype, name: str) -> torch.Tensor:
        try:
            tensor = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise RunError(
                f"{name}: a batch's inputs are {type(value).__name__}; have `collate_fn` make a tensor of "
                "them, or a dictionary of tensors"
            ) from None
        is_integer = not tensor.is_floating_point() and tensor.dtype != torch.bool
        tensor = tensor[:, None] if tensor.ndim == 1 else tensor
        return tensor.to(self.device, integer_type if is_integer else torch.float32, non_blocking=True)
