"""What a data function may return: rows to train on, or a line that says how to fix it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from tests.trainables.samples import run_of
from trainables.data import load, load_test
from trainables.input_fields import read_inputs, unpack
from trainables.run_config import RunError
from trainables.training import Training

HERE = "tests.trainables.test_returned."
ROWS = 60
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(ROWS, 4)).astype(np.float32), (np.arange(ROWS) % 2)
TOKENS = RNG.integers(0, 50, (ROWS, 6))


class Items(Dataset):  # type: ignore[type-arg]
    """A dataset of dictionaries, as Hugging Face's are."""

    def __init__(self, rows: range, key: str = "labels") -> None:
        self.rows, self.key = rows, key

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        row = self.rows[place]
        return {"ids": TOKENS[row], "size": X[row], self.key: int(Y[row])}


class Stream(IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Iterator[Any]:
        yield torch.zeros(4), 0


def tensors(rows: Any = slice(None)) -> Any:
    return TensorDataset(torch.from_numpy(X[rows]), torch.from_numpy(Y[rows]))


RETURNED = {
    "arrays": lambda: (X, Y),
    "lists": lambda: (X.tolist(), Y.tolist()),
    "words": lambda: (X, ["no" if each else "yes" for each in Y]),
    "frames": lambda: (pd.DataFrame(X), pd.Series(Y).map({0: "no", 1: "yes"})),
    "dataset": tensors,
    "loader": lambda: DataLoader(tensors(), 7),
    "pairs": lambda: [(X[:40], Y[:40]), (X[40:], Y[40:])],
    "datasets": lambda: (tensors(slice(40)), tensors(slice(40, None))),
    "loaders": lambda: (
        DataLoader(tensors(slice(40)), 16, shuffle=True),
        DataLoader(tensors(slice(40, None)), 16),
    ),
    "items": lambda: (list(zip(X, Y, strict=True)),) * 2,
    "tokens": lambda: (TOKENS, Y),
    "dictionary": lambda: ({"ids": TOKENS, "size": X}, Y),
    "dictionaries": lambda: (Items(range(40)), Items(range(40, ROWS))),
    "loaded_dictionaries": lambda: (DataLoader(Items(range(40)), 16), DataLoader(Items(range(40, ROWS)), 16)),
    "bytes": lambda: (RNG.integers(0, 255, (ROWS, 4)).astype(np.uint8), Y),
    "sparse": lambda: (csr_matrix(X), Y),
    "stream": lambda: (Stream(), Stream()),
    "streamed": lambda: (DataLoader(Stream(), 4), DataLoader(Stream(), 4)),
    "no_target": lambda: (Items(range(40), "answer"), Items(range(40, ROWS), "answer")),
    "triples": lambda: ([(x, y, 1) for x, y in zip(X, Y, strict=True)],) * 2,
    "ragged": lambda: ([(np.zeros(n), 0) for n in (2, 3)],) * 2,
    "ragged_inputs": lambda: ([[1.0], [1.0, 2.0]], [0, 1]),
    "word_inputs": lambda: (np.array([["a"], ["b"]]), [0, 1]),
    "word_frame": lambda: (pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}), [0, 1]),
    "uneven": lambda: (X, Y[:-1]),
    "uneven_names": lambda: ({"a": X, "b": X[:-1]}, Y),
    "other_shapes": lambda: ((X, Y), (X[:, :2], Y)),
}
globals().update({f"return_{name}": function for name, function in RETURNED.items()})


class Embedding(nn.Module):
    """Takes tokens, whole numbers."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(50, 4), nn.Linear(4, out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.table(x).mean(1))


class Places(nn.Module):
    """Embeds the positions of its inputs, which are floats, as vision transformers do."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.table, self.line = nn.Embedding(50, out_features), nn.Linear(in_features, out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.line(x) + self.table(torch.arange(1))


class ByName(nn.Module):
    """Takes its inputs as keywords."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.tokens, self.out = Embedding(4), nn.Linear(8, out_features)

    def forward(self, ids: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        return self.out(torch.cat([self.tokens(ids), size], 1))


class OneDictionary(ByName):
    """Takes its inputs as one dictionary."""

    def forward(self, batch: dict[str, Any]) -> torch.Tensor:  # type: ignore[override]
        return super().forward(batch["ids"], batch["size"])


def loaded(name: str, net: str = "trainables.mlp.MLP", **fields: Any) -> tuple[Any, ...]:
    fields = {
        "data_config": {},
        "net_config": {},
        "optimizer": "torch.optim.AdamW",
        "scheduler": None,
    } | fields
    run = run_of(
        data=f"{HERE}return_{name}",
        net=net,
        criterion="torch.nn.CrossEntropyLoss",
        scheduler_config={},
        **fields,
    )
    return run, load(run)


@pytest.mark.parametrize(
    ("name", "rows", "test"),
    [
        ("arrays", (36, 12), 12),
        ("lists", (36, 12), 12),
        ("words", (36, 12), 12),
        ("frames", (36, 12), 12),
        ("dataset", (36, 12), 12),
        ("loader", (36, 12), 12),
        ("pairs", (40, 20), None),
        ("datasets", (40, 20), None),
        ("loaders", (40, 20), None),
        ("items", (60, 60), None),
    ],
)
def test_rows_are_read_and_split_unless_they_are_split(
    name: str, rows: tuple[Any, ...], test: int | None
) -> None:
    run, data = loaded(name)
    kept = load_test(run)
    assert ((len(data.x_train), len(data.x_val)), None if kept is None else len(kept.x)) == (rows, test)
    assert (data.x_train.dtype, data.classes) == (np.float32, 2)


def test_a_loader_that_shuffles_gives_the_same_rows_every_time() -> None:
    before = torch.random.get_rng_state()
    assert len({loaded("loaders")[1].fingerprint for _ in range(2)}) == 1
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("name", "net", "dtype"),
    [
        ("tokens", "Embedding", torch.int64),
        ("bytes", "Places", torch.float32),
        ("dictionary", "ByName", None),
        ("dictionary", "OneDictionary", None),
        ("dictionaries", "ByName", None),
        ("loaded_dictionaries", "ByName", None),
    ],
)
def test_a_net_gets_whole_numbers_where_it_embeds_them(
    name: str, net: str, dtype: torch.dtype | None
) -> None:
    training = Training(*loaded(name, HERE + net))
    assert np.isfinite(next(training).val_loss)
    assert training.learners[0].feed.dtype == dtype


def test_whole_numbers_reach_other_nets_as_floats_or_as_is_said() -> None:
    assert next(Training(*loaded("bytes"))).finite
    with pytest.raises(RuntimeError, match="dtype"):
        next(Training(*loaded("bytes", data_config={"inputs": "integer"})))


def test_a_loop_of_ones_own_gets_floats() -> None:
    assert loaded("tokens", train="tests.trainables.samples.short")[1].x_train.dtype == np.float32
    whole = loaded("tokens", train="tests.trainables.samples.short", data_config={"inputs": "integer"})[1]
    assert whole.x_train.dtype == np.int64


@pytest.mark.parametrize("largest", [1000, 2**24 + 1, 2**40 + 1])
def test_named_inputs_come_back_as_they_were(largest: int) -> None:
    named = {"ids": np.array([[0, largest], [1, 2]]), "size": X[:2], "image": np.ones((2, 3, 2), np.float32)}
    packed, fields = read_inputs(named, None, "x")
    back = unpack(torch.tensor(packed), fields)
    assert {name: (value.dtype, value.shape) for name, value in back.items()} == {
        "ids": (torch.int64, (2, 2)),
        "size": (torch.float32, (2, 4)),
        "image": (torch.float32, (2, 3, 2)),
    }
    assert all(torch.equal(back[name], torch.tensor(value)) for name, value in named.items())


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "sparse",
            "the inputs: it is a sparse matrix of 60 x 4; return x.toarray(), 0.00096 MB as float32, or "
            "train on it by a loop of your own (`train:`)",
        ),
        (
            "stream",
            "returned a stream (IterableDataset) without a length to train on; set data_config.steps_per",
        ),
        ("streamed", "returned a stream (IterableDataset)"),
        (
            "no_target",
            "items have the keys ids, size, answer; call the target one of labels, label, targets, target, "
            "y, or return (x, y) pairs",
        ),
        ("triples", "each item should be an (x, y) pair or a dictionary; it is 3 values"),
        ("ragged", "rows have different shapes, (2,), (3,); pad them to one, or train by a loop of your own"),
        (
            "ragged_inputs",
            "the inputs: rows of different lengths cannot be inputs; return numbers, rows of one",
        ),
        ("word_inputs", "the inputs: <U1 values cannot be inputs; return numbers"),
        (
            "word_frame",
            "the inputs: the frame has columns that are no numbers; return trainables.data.Table(frame, "
            "target)",
        ),
        ("uneven", "returned 60 inputs and 59 targets"),
        ("uneven_names", "a dictionary of inputs needs arrays of equally many rows; it has a: 60, b: 59"),
        ("other_shapes", "the splits have different inputs, of the shapes (60, 4), (60, 2)"),
    ],
)
def test_what_cannot_be_trained_on_is_a_line_with_the_way_out(name: str, line: str) -> None:
    with pytest.raises(RunError) as caught:
        loaded(name)
    assert line in str(caught.value)
    assert str(caught.value).startswith(f"{HERE}return_{name}")
    assert len(str(caught.value).splitlines()) == 1
