"""What a data function may return, as arrays of rows: arrays, datasets and loaders, split already or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from trainables.run_config import RunError

TARGET_KEYS = ("labels", "label", "targets", "target", "y")
"""What the target is called in a dataset whose items are dictionaries."""

TORCH_DATA = "torch.utils.data"  # its classes are known by their names: a table is read without torch

PLAIN_SAMPLERS = ("RandomSampler", "SequentialSampler")

Pair = tuple[Any, Any]

EXPECTED = (
    "(x, y) arrays, x also a dictionary of arrays; a dataset or DataLoader of (x, y) pairs; (train, val[, "
    "test]) of such; or a trainables.data.Table"
)


def read_returned(found: Any, name: str, seed: int) -> list[Pair]:
    """The inputs and targets that a data function returned: one pair to split, or those of each split.

    Args:
        found: what it returned; no Table.
        name: its dotted path.
        seed: under which a loader is read, which may shuffle.

    Raises:
        RunError: if that is none of what can be trained on.
    """
    if _is_dataset(found):
        return [_read_dataset(found, name, seed)]
    if not isinstance(found, (tuple, list)) or len(found) not in (2, 3):
        raise RunError(f"{name} returned {type(found).__name__}; it should return {EXPECTED}")
    if len(found) == 2 and all(_is_array(value) for value in found):
        return [(found[0], found[1])]
    return [_read_split(each, name, seed) for each in found]


def lazy_sources(found: Any, name: str) -> list[Any] | None:
    """The Datasets and DataLoaders that a data function returned, if any is more than tensors; else None.

    Raises:
        RunError: if beside one of them stands what can be no split.
    """
    alone = _is_dataset(found)
    if not alone and (not isinstance(found, (tuple, list)) or len(found) not in (2, 3)):
        return None
    sources = [found] if alone else list(found)
    if not any(_is_dataset(each) and _tensors_of(each) is None for each in sources):
        return None
    return [each if _is_dataset(each) else _as_items(each, name) for each in sources]


def is_stream(source: Any) -> bool:
    """Whether it gives rows in an order of its own, and none by its number, or is a DataLoader of such."""
    return "IterableDataset" in _bases(source.dataset if _is_loader(source) else source)


def draws_each_once(loader: Any) -> bool:
    """Whether a DataLoader's sampler gives every row once, in order or by chance."""
    sampler, kind = loader.sampler, type(loader.sampler)
    if not kind.__module__.startswith(TORCH_DATA) or kind.__name__ not in PLAIN_SAMPLERS:
        return False
    return not getattr(sampler, "replacement", False) and len(sampler) == len(loader.dataset)


def _as_items(found: Any, name: str) -> Any:
    """A split beside a dataset, by row: arrays as a list of pairs; a list of items is one."""
    if isinstance(found, (tuple, list)) and len(found) == 2 and all(_is_array(value) for value in found):
        x, y = map(np.asarray, found)
        return list(zip(x, y, strict=True))
    if hasattr(found, "__getitem__") and hasattr(found, "__len__"):
        return found
    raise RunError(f"{name} returned {type(found).__name__} for a split; it should return {EXPECTED}")


def _tensors_of(found: Any) -> Pair | None:
    """The tensors of a TensorDataset, of a Subset of one, or of a loader that only batches them."""
    if is_stream(found):
        return None
    if _is_loader(found):
        batched = (
            found.batch_size is not None and getattr(found.collate_fn, "__name__", "") == "default_collate"
        )
        return _tensors_of(found.dataset) if batched and draws_each_once(found) else None
    if not type(found).__module__.startswith(TORCH_DATA):
        return None  # a class of the user's own may do more
    if type(found).__name__ == "Subset":
        inner, rows = _tensors_of(found.dataset), np.asarray(found.indices, dtype=np.int64)
        return None if inner is None else (inner[0][rows], inner[1][rows])
    tensors = getattr(found, "tensors", None)
    if isinstance(tensors, tuple) and len(tensors) == 2:
        return np.asarray(tensors[0]), np.asarray(tensors[1])
    return None


def _read_split(found: Any, name: str, seed: int) -> Pair:
    if isinstance(found, (tuple, list)) and len(found) == 2 and all(_is_array(value) for value in found):
        return found[0], found[1]
    return _read_dataset(found, name, seed)


def _read_dataset(found: Any, name: str, seed: int) -> Pair:
    """All rows of a dataset or a loader, read through once.

    Of a DataLoader over tensors that only cuts them into batches, the tensors.

    Raises:
        RunError: if they come without end, or are no pairs.
    """
    if is_stream(found):
        raise RunError(
            f"{name} returned a stream (IterableDataset), which cannot be read into memory; leave out "
            "data_config.preload"
        )
    if not hasattr(found, "__len__"):
        raise RunError(f"{name} returned {type(found).__name__} for a split; it should return {EXPECTED}")
    if not len(found):
        raise RunError(f"{name}: a dataset is empty; each should hold (x, y) pairs, at least one")
    tensors = _tensors_of(found)
    if tensors is not None:
        return tensors
    if _is_loader(found):
        with _seeded(seed):
            return joined_pairs([pair_of(batch, name) for batch in found], np.concatenate, name)
    return joined_pairs([pair_of(found[row], name) for row in range(len(found))], np.stack, name)


def pair_of(item: Any, name: str) -> Pair:
    """Inputs and target of one item or batch.

    Raises:
        RunError: if it is no pair, or a dictionary without a target.
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


def joined_pairs(pairs: Sequence[Pair], join: Any, name: str) -> Pair:
    """Items or batches one below the other."""
    first = pairs[0][0]
    if isinstance(first, Mapping):
        x: Any = {key: _one_array((pair[0][key] for pair in pairs), join, name) for key in first}
    else:
        x = _one_array((pair[0] for pair in pairs), join, name)
    return x, _one_array((pair[1] for pair in pairs), join, name)


def _one_array(values: Iterable[Any], join: Any, name: str) -> np.ndarray:
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
def _seeded(seed: int) -> Iterator[None]:
    """Give a loader that shuffles the same order every time, and leave torch's generator as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _is_dataset(value: Any) -> bool:
    """Whether it is one of torch's datasets or loaders, or has its rows by number as they do."""
    if {"Dataset", "DataLoader"} & _bases(value):
        return True
    indexed = hasattr(value, "__getitem__") and hasattr(value, "__len__")
    return indexed and not isinstance(value, (list, tuple, str, Mapping)) and not _is_array(value)


def _is_loader(value: Any) -> bool:
    return "DataLoader" in _bases(value)


def _bases(value: Any) -> set[str]:
    """Names of torch's classes that it is one of; torch itself need not be there."""
    return {each.__name__ for each in type(value).__mro__ if each.__module__.startswith(TORCH_DATA)}


def _is_array(value: Any) -> bool:
    """Whether it is an array, tensor, frame or matrix, or a dictionary of such, and no dataset of items."""
    if isinstance(value, Mapping):
        return all(_is_array(each) for each in value.values())
    if hasattr(value, "__array__") or hasattr(value, "toarray"):
        return True
    return isinstance(value, list) and not (value and isinstance(value[0], (tuple, Mapping)))
