"""DataLoaders over users' datasets, with the user's settings but with rows, order and seeds set here."""

from __future__ import annotations

import functools
import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import get_worker_info as worker_info

from trainables.data_function import draws_each_once, is_stream
from trainables.data_parts import rows_in_batches
from trainables.rng_state import RngState

MAX_DEPTH = 4  # dataset.dataset.transform.rng


def dataset_of(source: Any) -> Any:
    """The dataset of a DataLoader; any other source is a dataset itself."""
    return source.dataset if isinstance(source, DataLoader) else source


def has_own_order(source: Any) -> bool:
    """Whether the source determines the order of its rows: a stream, a custom sampler, whole batches."""
    if is_stream(source) or not isinstance(source, DataLoader):
        return is_stream(source)
    return source.batch_size is None or not draws_each_once(source)


def length_of(source: Any) -> int | None:
    """Rows of an epoch; None for a stream without a length."""
    has_sampler = isinstance(source, DataLoader) and source.batch_size is not None and not is_stream(source)
    try:
        return len(source.sampler) if has_sampler and has_own_order(source) else len(dataset_of(source))
    except TypeError:
        return None


def batches_of(source: Any, rows: int, batch_size: int) -> int:
    """Number of training batches of an epoch of so many rows; a last batch of a single row is left out."""
    if isinstance(source, DataLoader):
        if source.batch_size is None and not is_stream(source):
            return len(source.sampler if source.batch_sampler is None else source.batch_sampler)  # type: ignore[arg-type]
        if source.drop_last:
            return max(1, rows // batch_size)
    return math.ceil((rows if has_own_order(source) else rows_in_batches(rows, batch_size)) / batch_size)


def loader(
    source: Any,
    batch_size: int,
    *,
    order: Sequence[int] | None,
    seed: int,
    num_workers: int | None,
    training: bool = False,
    pin: bool = False,
) -> DataLoader[Any]:
    """A DataLoader over a source, with the collate function, workers and sampler of a user's DataLoader.

    On Linux workers are forked unless the source says otherwise: with Python's "forkserver", which a
    process started by it inherits, they cost seconds at every epoch, and do not notice when their trial is
    killed.

    Args:
        source: a Dataset, or a DataLoader.
        batch_size: rows per batch; without effect if the source makes whole batches.
        order: indices of the rows, if the source has no order of its own.
        seed: seed of the workers.
        num_workers: number of workers; None for the source's own.
        training: whether a `drop_last` of the source applies.
        pin: whether its `pin_memory` applies.
    """
    own = source if isinstance(source, DataLoader) else None
    workers = num_workers if num_workers is not None else (own.num_workers if own else 0)
    settings: dict[str, Any] = {
        "num_workers": workers,
        "generator": torch.Generator().manual_seed(seed),
        "worker_init_fn": functools.partial(_begin_worker, own.worker_init_fn if own else None),
    }
    if workers and sys.platform == "linux":
        settings["multiprocessing_context"] = "fork"
    if own is not None:
        settings |= {"collate_fn": own.collate_fn, "pin_memory": own.pin_memory and pin}
        if workers:
            settings["timeout"] = own.timeout
            for name in ("prefetch_factor", "multiprocessing_context"):
                if (value := getattr(own, name)) is not None:
                    settings[name] = value
    if own is not None and own.batch_sampler is not None and own.batch_size is None:
        return DataLoader(own.dataset, batch_sampler=own.batch_sampler, **settings)
    if not is_stream(source):
        settings["sampler"] = own.sampler if own is not None and order is None else order
    if own is not None and own.batch_size is None:
        return DataLoader(own.dataset, batch_size=None, **settings)
    drop_last = training and own is not None and own.drop_last
    return DataLoader(dataset_of(source), batch_size, drop_last=drop_last, **settings)


def draws(batches: DataLoader[Any], seed: int, epoch: int) -> Iterator[Any]:
    """The batches of a loader, with random numbers that depend on this seed only.

    Args:
        batches: iterated once.
        seed: of the global generators while rows are loaded, and of the dataset's own generators.
        epoch: number of the epoch, from 0, for a dataset or sampler with a `set_epoch`.
    """
    state = RngState(seed, torch.device("cpu"))
    with state.own():
        for each in (batches.dataset, batches.sampler, batches.batch_sampler):
            if callable(set_epoch := getattr(each, "set_epoch", None)):
                set_epoch(epoch)
            seed_generators(each, seed)
        remaining = iter(batches)
    while True:
        with state.own():
            try:
                batch = next(remaining)
            except StopIteration:
                return
        yield batch


def seed_generators(holder: Any, seed: int, depth: int = MAX_DEPTH) -> None:
    """Seed the generators in the attributes of an object, recursively.

    Otherwise a dataset's own generator would go on in one process but start anew in each worker, and would
    not be part of a checkpoint.
    """
    if isinstance(holder, np.random.Generator):
        bits = holder.bit_generator
        bits.state = type(bits)(seed).state
    elif isinstance(holder, np.random.RandomState):
        holder.seed(seed % 2**32)
    elif isinstance(holder, random.Random):
        holder.seed(seed)
    elif isinstance(holder, torch.Generator):
        holder.manual_seed(seed)
    elif depth and not isinstance(holder, (torch.Tensor, np.ndarray, torch.nn.Parameter, type)):
        inner: Any = ()
        if isinstance(holder, (list, tuple)) and len(holder) <= 100:
            inner = holder
        elif isinstance(holder, Mapping) and len(holder) <= 100:
            inner = holder.values()
        elif hasattr(holder, "__dict__"):
            inner = list(vars(holder).values())
        for each in inner:
            seed_generators(each, seed, depth - 1)


def _begin_worker(own: Callable[[int], None] | None, number: int) -> None:
    """Seed the generators of a worker's copy of the dataset, then call the user's `worker_init_fn`."""
    info = worker_info()
    assert info is not None, "called in a worker"
    seed_generators(info.dataset, info.seed)
    if own is not None:
        own(number)
