"""Makes lazy splits of the Datasets and DataLoaders of a user's function: lengths, first rows, targets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainables.data_function import is_stream, one_array, pair_of
from trainables.input_fields import InputField, read_inputs
from trainables.lazy_split import LazySplit, TargetEncoder, raw_targets
from trainables.outputs import OutputMeaning
from trainables.run_config import RunConfig, RunError
from trainables.splitting import SplitConfig
from trainables.targets import Targets, join_targets, read_targets

FEW = 2  # rows read for shapes and types
READ_AT_ONCE = 256  # rows per batch while targets are read
TARGET_ATTRIBUTES = ("targets", "labels")
"""Attributes in which datasets, such as torchvision's, keep the targets of all rows."""


@dataclass(frozen=True, slots=True)
class LazySource:
    """Datasets and DataLoaders returned by a data function, with what is known of their rows.

    Attributes:
        splits: all rows of each source; one source is yet to be divided.
        all_targets: targets of all rows if they were read, else of the first few.
        fields: named inputs.
    """

    splits: tuple[LazySplit, ...]
    all_targets: Targets
    fields: tuple[InputField, ...]


def inspect_sources(
    sources: Sequence[Any], name: str, run: RunConfig, criterion: OutputMeaning | None
) -> LazySource:
    """Lengths, first rows and targets of some sources.

    Targets are taken from the dataset's `targets` or `labels` if these match its rows. They are not
    needed for numbers, nor if `data_config.num_classes` is given; else all rows are read once.

    Args:
        sources: Datasets and DataLoaders.
        name: the function that returned them.
        run: its `data_config` and `batch_size` are used.
        criterion: outputs and targets of the criterion; None if it is not one of torch's.

    Raises:
        RunError: if they cannot be trained on.
    """
    config = SplitConfig.of(run)
    _check(sources, name, config)
    where, few = f"{name}: the targets", [_first_rows(source, name, config) for source in sources]
    inputs = [read_inputs(x, config.inputs, f"{name}: the inputs") for x, _ in few]
    if len({(x.shape[1:], fields) for x, fields in inputs}) > 1 and not _may_vary(sources):
        shapes = ", ".join(str(x.shape) for x, _ in inputs)
        raise RunError(f"{name}: the splits have different inputs, of the shapes {shapes}")
    raw: list[np.ndarray | None] = [None] * len(sources)
    if _needs_all_targets(few[0][1], config, criterion):
        raw = [_all_targets(source, name, run, config, which) for which, source in enumerate(sources)]
    complete = [each for each in raw if each is not None]
    targets = _targets(complete or [raw_targets(y, where) for _, y in few], config, criterion, where)
    encoded = complete or ([raw_targets(few[0][1], where)] if targets.labels else [])
    encoder = TargetEncoder.of(targets, join_targets(encoded) if encoded else None, where)
    splits = tuple(
        _split(which, source, name, run, config, x[:FEW], encoder, y)
        for which, (source, (x, _), y) in enumerate(zip(sources, inputs, raw, strict=True))
    )
    return LazySource(splits, targets, inputs[0][1])


def _check(sources: Sequence[Any], name: str, config: SplitConfig) -> None:
    """Check that the sources can be trained on with this `data_config`.

    Raises:
        RunError: if not.
    """
    from trainables.lazy_loading import has_own_order, length_of

    if len(sources) == 1 and has_own_order(sources[0]):
        what = (
            "a stream (IterableDataset)" if is_stream(sources[0]) else "a DataLoader with an order of its own"
        )
        raise RunError(f"{name} returned {what}, whose rows cannot be divided; return (train, val) of such")
    for source in sources:
        if length_of(source) == 0:
            raise RunError(f"{name}: a dataset is empty; each should hold (x, y) pairs, at least one")
    if length_of(sources[0]) is None and config.steps_per_epoch is None:
        raise RunError(
            f"{name} returned a stream (IterableDataset) without a length to train on; set "
            "data_config.steps_per_epoch: batches of an epoch, or give it a `__len__`, rows"
        )
    for key in ("folds", "stratify"):
        if len(sources) > 1 and getattr(config, key):
            raise RunError(
                f"data_config.{key}: {name} returns splits of its own, and nothing is left to divide; "
                "return one dataset, or leave it out"
            )


def _first_rows(source: Any, name: str, config: SplitConfig) -> tuple[Any, Any]:
    """Inputs and targets of the first rows, or of the first batch if the source makes whole batches."""
    from trainables.lazy_loading import dataset_of, draws, has_own_order, loader

    order = None if has_own_order(source) else range(min(FEW, len(dataset_of(source))))
    rows = loader(source, FEW, order=order, seed=config.split_seed, num_workers=0)
    first = next(draws(rows, config.split_seed, 0), None)
    if first is None:
        raise RunError(f"{name}: a stream is empty; each should yield (x, y) pairs, at least one")
    return pair_of(first, name)


def _may_vary(sources: Sequence[Any]) -> bool:
    """Whether a user's collate function may make batches with different shapes of rows."""
    return any(hasattr(source, "collate_fn") for source in sources)


def _needs_all_targets(y: Any, config: SplitConfig, criterion: OutputMeaning | None) -> bool:
    if config.stratify:
        return True
    if config.num_classes is not None or config.task == "regression":
        return False
    is_numeric = criterion is not None and criterion.layout == "numbers" and config.task is None
    return not (is_numeric and np.asarray(y).dtype.kind == "f")


def _targets(
    raw: Sequence[np.ndarray], config: SplitConfig, criterion: OutputMeaning | None, where: str
) -> Targets:
    """The targets, read from all values or from the first few."""
    first = raw[0]
    is_labels = first.ndim > 1 and criterion is not None and criterion.layout == "labels"
    if config.num_classes is None or is_labels:
        return read_targets(join_targets(raw), task=config.task, criterion=criterion, where=where)
    if first.dtype.kind not in "iub":
        raise RunError(
            f"{where}: they are {first.dtype}; data_config.num_classes is for classes numbered from 0"
        )
    names = tuple(map(str, range(config.num_classes)))
    return Targets(join_targets(raw).astype(np.int64), "classification", names)


def _all_targets(source: Any, name: str, run: RunConfig, config: SplitConfig, which: int) -> np.ndarray:
    """Targets of all rows, from an attribute of the dataset if it matches the rows, else by reading all."""
    from trainables.lazy_loading import dataset_of, draws, has_own_order, loader

    where, dataset = f"{name}: the targets", dataset_of(source)
    kept = next(
        (values for key in TARGET_ATTRIBUTES if (values := getattr(dataset, key, None)) is not None), None
    )
    if kept is not None and not is_stream(source) and len(kept) == len(dataset):
        values, probed = raw_targets(kept, where), {0, len(dataset) // 2, len(dataset) - 1}
        if all(np.array_equal(values[row], np.asarray(pair_of(dataset[row], name)[1])) for row in probed):
            return values
    in_order = is_stream(source) or getattr(source, "batch_size", READ_AT_ONCE) is None
    steps = config.steps_per_epoch if which == 0 else config.validation_steps
    size = run.batch_size if is_stream(source) else READ_AT_ONCE
    rows = loader(
        source,
        size,
        order=None if in_order else range(len(dataset)),
        seed=config.split_seed,
        num_workers=config.num_workers,
    )
    batches = itertools.islice(draws(rows, config.split_seed, 0), steps if has_own_order(source) else None)
    targets = [raw_targets(pair_of(batch, name)[1], where) for batch in batches]
    return one_array(targets, np.concatenate, name) if targets else np.zeros(0)


def _split(
    which: int,
    source: Any,
    name: str,
    run: RunConfig,
    config: SplitConfig,
    example: np.ndarray,
    encoder: TargetEncoder,
    raw: np.ndarray | None,
) -> LazySplit:
    """All rows of a source."""
    from trainables.lazy_loading import has_own_order, length_of

    steps = (config.steps_per_epoch if which == 0 else config.validation_steps) if is_stream(source) else None
    length = length_of(source)
    if steps is not None or length is None:
        length = _count_rows(source, name, run, config, raw) if steps is None else steps * run.batch_size
    all_targets = None if raw is None or is_stream(source) else encoder.encode(raw)
    return LazySplit(
        source=source,
        which=which,
        name=name,
        rows=None if has_own_order(source) else np.arange(length),
        length=length,
        example=example,
        encoder=encoder,
        targets=all_targets,
        steps=steps,
        num_workers=config.num_workers,
    )


def _count_rows(source: Any, name: str, run: RunConfig, config: SplitConfig, raw: np.ndarray | None) -> int:
    """Number of rows of a finite stream without a length, such as one for validation."""
    if raw is not None:
        return len(raw)
    from trainables.lazy_loading import draws, loader

    rows = loader(source, run.batch_size, order=None, seed=config.split_seed, num_workers=config.num_workers)
    return sum(len(pair_of(batch, name)[1]) for batch in draws(rows, config.split_seed, 0))
