"""What a data function may return, as arrays of rows: arrays, datasets and loaders, split already or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from trainables.run_config import RunError

TARGET_KEYS = ("labels", "label", "targets", "target", "y")
"""What the target is called in a dataset whose items are dictionaries."""

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


def _read_split(found: Any, name: str, seed: int) -> Pair:
    if isinstance(found, (tuple, list)) and len(found) == 2 and all(_is_array(value) for value in found):
        return found[0], found[1]
    return _read_dataset(found, name, seed)


def _read_dataset(found: Any, name: str, seed: int) -> Pair:
    """All rows of a dataset or a loader, read through once.

    Raises:
        RunError: if they come without end, or are no pairs.
    """
    if "IterableDataset" in _bases(found) or "IterableDataset" in _bases(getattr(found, "dataset", None)):
        raise RunError(
            f"{name} returned a stream (IterableDataset): it has no length, and no rows to choose from; "
            "train on it by a loop of your own (`train:`, see trainables.custom_loop), or return a dataset "
            "with a length"
        )
    if not hasattr(found, "__len__"):
        raise RunError(f"{name} returned {type(found).__name__} for a split; it should return {EXPECTED}")
    if not len(found):
        raise RunError(f"{name}: a dataset is empty; each should hold (x, y) pairs, at least one")
    tensors = getattr(found, "tensors", None)
    if isinstance(tensors, tuple) and len(tensors) == 2:
        return np.asarray(tensors[0]), np.asarray(tensors[1])
    if _is_loader(found):
        with _seeded(seed):
            return _joined([_pair(batch, name) for batch in found], np.concatenate, name)
    return _joined([_pair(found[row], name) for row in range(len(found))], np.stack, name)


def _pair(item: Any, name: str) -> Pair:
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


def _joined(pairs: Sequence[Pair], join: Any, name: str) -> Pair:
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
    """Whether it is one of torch's datasets or loaders."""
    return bool({"Dataset", "DataLoader"} & _bases(value))


def _is_loader(value: Any) -> bool:
    return "DataLoader" in _bases(value)


def _bases(value: Any) -> set[str]:
    """Names of torch's classes that it is one of; torch itself need not be there."""
    return {each.__name__ for each in type(value).__mro__ if each.__module__.startswith("torch.utils.data")}


def _is_array(value: Any) -> bool:
    """Whether it is an array, tensor, frame or matrix, or a dictionary of such, and no dataset of items."""
    if isinstance(value, Mapping):
        return all(_is_array(each) for each in value.values())
    if hasattr(value, "__array__") or hasattr(value, "toarray"):
        return True
    return isinstance(value, list) and not (value and isinstance(value[0], (tuple, Mapping)))
