"""Reads what a data function returns: arrays, datasets and loaders, already split or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from trainables.run_config import RunError

TARGET_KEYS = ("labels", "label", "targets", "target", "y")
"""Keys of the target in a dataset whose items are dictionaries."""

TORCH_DATA = "torch.utils.data"  # its classes are recognised by name, so that a table is read without torch

PLAIN_SAMPLERS = ("RandomSampler", "SequentialSampler")

Pair = tuple[Any, Any]

EXPECTED = (
    "(x, y) arrays, x also a dictionary of arrays; a dataset or DataLoader of (x, y) pairs; (train, val[, "
    "test]) of such; or a trainables.data.Table"
)


def read_returned(returned: Any, name: str, seed: int) -> list[Pair]:
    """The inputs and targets that a data function returned: one pair to split, or a pair for each split.

    Args:
        returned: the returned value; no Table.
        name: dotted path of the function.
        seed: seed with which a loader is read, as it may shuffle.

    Raises:
        RunError: if the value cannot be trained on.
    """
    if _is_dataset(returned):
        return [_read_dataset(returned, name, seed)]
    if not isinstance(returned, (tuple, list)) or len(returned) not in (2, 3):
        raise RunError(f"{name} returned {type(returned).__name__}; it should return {EXPECTED}")
    if len(returned) == 2 and all(_is_array(value) for value in returned):
        return [(returned[0], returned[1])]
    return [
        (split[0], split[1]) if _is_array_pair(split) else _read_dataset(split, name, seed)
        for split in returned
    ]


def lazy_sources(returned: Any, name: str) -> list[Any] | None:
    """The Datasets and DataLoaders that a data function returned, if any is more than tensors; else None.

    Raises:
        RunError: if a value beside one of them cannot be a split.
    """
    is_single = _is_dataset(returned)
    if not is_single and (not isinstance(returned, (tuple, list)) or len(returned) not in (2, 3)):
        return None
    sources = [returned] if is_single else list(returned)
    if not any(_is_dataset(each) and _tensors_of(each) is None for each in sources):
        return None
    return [each if _is_dataset(each) else _as_items(each, name) for each in sources]


def is_stream(source: Any) -> bool:
    """Whether a source is an IterableDataset, or a DataLoader of one: its rows have no numbers."""
    return "IterableDataset" in _bases(source.dataset if _is_loader(source) else source)


def draws_each_once(loader: Any) -> bool:
    """Whether a DataLoader's sampler draws every row once, in order or at random."""
    sampler, kind = loader.sampler, type(loader.sampler)
    if not kind.__module__.startswith(TORCH_DATA) or kind.__name__ not in PLAIN_SAMPLERS:
        return False
    return not getattr(sampler, "replacement", False) and len(sampler) == len(loader.dataset)


def _as_items(split: Any, name: str) -> Any:
    """A split returned beside a dataset, as a sequence of (x, y) items."""
    if _is_array_pair(split):
        x, y = map(np.asarray, split)
        return list(zip(x, y, strict=True))
    if hasattr(split, "__getitem__") and hasattr(split, "__len__"):
        return split
    raise RunError(f"{name} returned {type(split).__name__} for a split; it should return {EXPECTED}")


def _is_array_pair(split: Any) -> bool:
    return isinstance(split, (tuple, list)) and len(split) == 2 and all(map(_is_array, split))


def _tensors_of(source: Any) -> Pair | None:
    """The tensors of a TensorDataset, of a Subset of one, or of a loader that only batches them."""
    if is_stream(source):
        return None
    if _is_loader(source):
        is_plain = (
            source.batch_size is not None and getattr(source.collate_fn, "__name__", "") == "default_collate"
        )
        return _tensors_of(source.dataset) if is_plain and draws_each_once(source) else None
    if not type(source).__module__.startswith(TORCH_DATA):
        return None  # a user's class may do more
    if type(source).__name__ == "Subset":
        inner, rows = _tensors_of(source.dataset), np.asarray(source.indices, dtype=np.int64)
        return None if inner is None else (inner[0][rows], inner[1][rows])
    tensors = getattr(source, "tensors", None)
    if isinstance(tensors, tuple) and len(tensors) == 2:
        return np.asarray(tensors[0]), np.asarray(tensors[1])
    return None


def _read_dataset(dataset: Any, name: str, seed: int) -> Pair:
    """All rows of a dataset or a loader, read once; or its tensors, if it has no more.

    Raises:
        RunError: if it is a stream, or its items are no pairs.
    """
    if is_stream(dataset):
        raise RunError(
            f"{name} returned a stream (IterableDataset), which cannot be read into memory; leave out "
            "data_config.preload"
        )
    if not hasattr(dataset, "__len__"):
        raise RunError(f"{name} returned {type(dataset).__name__} for a split; it should return {EXPECTED}")
    if not len(dataset):
        raise RunError(f"{name}: a dataset is empty; each should hold (x, y) pairs, at least one")
    tensors = _tensors_of(dataset)
    if tensors is not None:
        return tensors
    if _is_loader(dataset):
        with _seed_torch(seed):
            return join_pairs([pair_of(batch, name) for batch in dataset], np.concatenate, name)
    return join_pairs([pair_of(dataset[row], name) for row in range(len(dataset))], np.stack, name)


def pair_of(item: Any, name: str) -> Pair:
    """Inputs and targets of an item or a batch.

    Raises:
        RunError: if it is neither a pair nor a dictionary with a target.
    """
    if isinstance(item, Mapping):
        key = next((key for key in TARGET_KEYS if key in item), None)
        if key is None:
            raise RunError(
                f"{name}: items have the keys {', '.join(map(str, item))}; call the target one of "
                f"{', '.join(TARGET_KEYS)}, or return (x, y) pairs"
            )
        inputs = {each: value for each, value in item.items() if each != key}
        return next(iter(inputs.values())) if len(inputs) == 1 else inputs, item[key]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        what = f"{len(item)} values" if isinstance(item, (tuple, list)) else type(item).__name__
        raise RunError(f"{name}: each item should be an (x, y) pair or a dictionary; it is {what}")
    return item[0], item[1]


def join_pairs(pairs: Sequence[Pair], join: Any, name: str) -> Pair:
    """Items or batches joined into arrays of all rows."""
    first = pairs[0][0]
    if isinstance(first, Mapping):
        x: Any = {key: one_array((pair[0][key] for pair in pairs), join, name) for key in first}
    else:
        x = one_array((pair[0] for pair in pairs), join, name)
    return x, one_array((pair[1] for pair in pairs), join, name)


def one_array(values: Iterable[Any], join: Any, name: str) -> np.ndarray:
    """Values joined by `np.stack` or `np.concatenate`.

    Raises:
        RunError: if their shapes differ.
    """
    try:
        arrays = [np.asarray(value) for value in values]
        joined: np.ndarray = join(arrays)
    except ValueError:
        shapes = sorted({array.shape for array in arrays})[:3]
        raise RunError(
            f"{name}: rows have different shapes, {', '.join(map(str, shapes))}; pad them to one, or train "
            "by a loop of your own (`train:`)"
        ) from None
    return joined


@contextmanager
def _seed_torch(seed: int) -> Iterator[None]:
    """Seed torch's generator within the block, so that a loader shuffles alike every time."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _is_dataset(value: Any) -> bool:
    """Whether a value is a dataset or loader of torch's, or is indexed by row as datasets are."""
    if {"Dataset", "DataLoader"} & _bases(value):
        return True
    is_indexed = hasattr(value, "__getitem__") and hasattr(value, "__len__")
    return is_indexed and not isinstance(value, (list, tuple, str, Mapping)) and not _is_array(value)


def _is_loader(value: Any) -> bool:
    return "DataLoader" in _bases(value)


def _bases(value: Any) -> set[str]:
    """Names of the torch.utils.data classes that a value is an instance of; imports no torch."""
    return {each.__name__ for each in type(value).__mro__ if each.__module__.startswith(TORCH_DATA)}


def _is_array(value: Any) -> bool:
    """Whether a value is an array, tensor, frame or matrix, a dictionary of such, or a list of no pairs."""
    if isinstance(value, Mapping):
        return all(_is_array(each) for each in value.values())
    if hasattr(value, "__array__") or hasattr(value, "toarray"):
        return True
    return isinstance(value, list) and not (value and isinstance(value[0], (tuple, Mapping)))
