"""Datasets and DataLoaders as users write them, returned by data functions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

ROWS = 24
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
Y = np.arange(ROWS) % 3


class Augmented(Dataset):  # type: ignore[type-arg]
    """Each row with noise from a generator; `reads` counts the rows read in this process."""

    def __init__(self, noise: str = "torch", rows: range = range(ROWS)) -> None:
        self.noise, self.rows, self.reads = noise, rows, 0
        self.epochs: list[int] = []
        self.own = np.random.default_rng(5)

    def __len__(self) -> int:
        return len(self.rows)

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __getitem__(self, place: int) -> Any:
        self.reads += 1
        draws: dict[str, Callable[[], float]] = {
            "torch": lambda: float(torch.rand(())),
            "numpy": lambda: float(np.random.random()),  # noqa: NPY002 - users' datasets do
            "python": random.random,
            "own": lambda: float(self.own.random()),
            "none": lambda: 0.0,
        }
        row = self.rows[place]
        return X[row] + np.float32(draws[self.noise]()), int(Y[row])


class Kept(Augmented):
    """Has its targets in an attribute, as torchvision's datasets do."""

    def __init__(self, shift: int = 0) -> None:
        super().__init__()
        self.targets = (Y + shift).tolist()


class Stream(IterableDataset):  # type: ignore[type-arg]
    """A stream of `rows` rows, endless if None."""

    def __init__(self, rows: int | None) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Any]:
        count = 0
        while self.rows is None or count < self.rows:
            yield X[count % ROWS] + np.float32(torch.rand(())), int(Y[count % ROWS])
            count += 1


class LongStream(Stream):
    """Has a length."""

    def __len__(self) -> int:
        assert self.rows is not None
        return self.rows


class Ragged(Dataset):  # type: ignore[type-arg]
    """Rows of different lengths, as texts are."""

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"ids": torch.arange(1 + row % 4), "label": int(Y[row])}


def padded(rows: list[dict[str, Any]]) -> dict[str, Any]:
    ids = torch.nn.utils.rnn.pad_sequence([row["ids"] for row in rows], batch_first=True)
    return {"ids": ids, "mask": ids > 0, "label": torch.tensor([row["label"] for row in rows])}


class Reader(torch.nn.Module):
    """Takes padded texts by name."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.table, self.out = torch.nn.Embedding(8, 4), torch.nn.Linear(4, out_features)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> Any:
        assert ids.dtype == torch.int64
        return self.out((self.table(ids) * mask[:, :, None]).sum(1))


TRAIN, VAL = range(16), range(16, ROWS)


def augmented(noise: str = "torch") -> Any:
    return Augmented(noise)


def pair(noise: str = "torch") -> Any:
    return Augmented(noise, TRAIN), Augmented("none", VAL)


def kept(shift: int = 0) -> Any:
    return Kept(shift)


def tensors() -> Any:
    whole = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    return DataLoader(Subset(whole, TRAIN), 5, shuffle=True), Subset(whole, VAL)


def padded_texts() -> Any:
    texts = Ragged()
    return tuple(DataLoader(Subset(texts, rows), 7, collate_fn=padded) for rows in (TRAIN, VAL))


def weighted() -> Any:
    sampler = WeightedRandomSampler([1.0 if Y[row] == 2 else 0.0 for row in TRAIN], 12)
    return DataLoader(Augmented("none", TRAIN), 4, sampler=sampler), Augmented("none", VAL)


def own_batches() -> Any:
    batches = [[0, 1, 2], [3, 4], [5, 6, 7, 8]]
    return DataLoader(Augmented("none", TRAIN), batch_sampler=batches), Augmented("none", VAL)


def streams(rows: int | None = 16, long: bool = False) -> Any:
    return (LongStream if long else Stream)(rows), Stream(8)


def one_stream() -> Any:
    return Stream(16)


def array_beside() -> Any:
    return Augmented("none", TRAIN), (X[16:], Y[16:])
