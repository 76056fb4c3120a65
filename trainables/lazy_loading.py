"""DataLoaders over the datasets of users: their own settings kept, rows, order and seeds ours."""

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
    """The dataset of a DataLoader; anything else is one itself."""
    return source.dataset if isinstance(source, DataLoader) else source


def has_own_order(source: Any) -> bool:
    """Whether the source says which rows come in which order: a stream, an own sampler, whole batches."""
    if is_stream(source) or not isinstance(source, DataLoader):
        return is_stream(source)
    return source.batch_size is None or not draws_each_once(source)


def length_of(source: Any) -> int | None:
    """Rows of an epoch; None for a stream that does not know."""
    own = isinstance(source, DataLoader) and source.batch_size is not None and not is_stream(source)
    try:
        return len(source.sampler) if own and has_own_order(source) else len(dataset_of(source))
    except TypeError:
        return None


def batches_of(source: Any, rows: int, batch_size: int) -> int:
    """Training batches of an epoch of so many rows; a last one of a single row is left out."""
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
    """A DataLoader over a source, with the collation, workers and sampler of the user's, if it is one.

    On Linux workers are forked unless the source says otherwise: started by another process (Python's
    "forkserver", which a process that was so started inherits) they cost seconds at every epoch, and do not
    see it when their trial is killed.

    Args:
        source: a Dataset, or a DataLoader.
        batch_size: rows per batch; of no effect where the source makes whole batches.
        order: places of the rows, where the source has no order of its own.
        seed: of its workers.
        num_workers: None for the source's own.
        training: whether a `drop_last` of the source counts.
        pin: whether its `pin_memory` does.
    """
    given = source if isinstance(source, DataLoader) else None
    workers = num_workers if num_workers is not None else (given.num_workers if given else 0)
    settings: dict[str, Any] = {
        "num_workers": workers,
        "generator": torch.Generator().manual_seed(seed),
        "worker_init_fn": functools.partial(_begin_worker, given.worker_init_fn if given else None),
    }
    if workers and sys.platform == "linux":
        settings["multiprocessing_context"] = "fork"
    if given is not None:
        settings |= {"collate_fn": given.collate_fn, "pin_memory": given.pin_memory and pin}
        if workers:
            settings["timeout"] = given.timeout
            chosen = {
                "prefetch_factor": given.prefetch_factor,
                "multiprocessing_context": given.multiprocessing_context,
            }
            settings |= {name: value for name, value in chosen.items() if value is not None}
    if given is not None and given.batch_sampler is not None and given.batch_size is None:
        return DataLoader(given.dataset, batch_sampler=given.batch_sampler, **settings)
    if not is_stream(source):
        settings["sampler"] = given.sampler if given is not None and order is None else order
    if given is not None and given.batch_size is None:
        return DataLoader(given.dataset, batch_size=None, **settings)
    drop_last = training and given is not None and given.drop_last
    return DataLoader(dataset_of(source), batch_size, drop_last=drop_last, **settings)


def draws(batches: DataLoader[Any], seed: int, epoch: int) -> Iterator[Any]:
    """The batches of a loader, their random numbers drawn by this seed whatever else draws any.

    Args:
        batches: to be gone through once.
        seed: of the global generators while rows are loaded, and of generators that the dataset keeps.
        epoch: number of the epoch, from 0, for a dataset or sampler with a `set_epoch`.
    """
    state = RngState(seed, torch.device("cpu"))
    with state.own():
        for each in (batches.dataset, batches.sampler, batches.batch_sampler):
            if callable(set_epoch := getattr(each, "set_epoch", None)):
                set_epoch(epoch)
            seed_generators(each, seed)
        rest = iter(batches)
    while True:
        with state.own():
            try:
                batch = next(rest)
            except StopIteration:
                return
        yield batch


def seed_generators(holder: Any, seed: int, depth: int = MAX_DEPTH) -> None:
    """Seed the generators that an object keeps, in its attributes and theirs.

    Without it a dataset's own generator would go on in one process, begin anew in each worker, and be no part
    of a checkpoint.
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
    """Give a worker's copy of the dataset generators of its own, and do what the user's loader does."""
    info = worker_info()
    assert info is not None, "called in a worker"
    seed_generators(info.dataset, info.seed)
    if own is not None:
        own(number)
