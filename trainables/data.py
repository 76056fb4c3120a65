"""Loads data by dotted path, in one fixed split, with the test rows kept apart.

A data function returns one of

- `(x, y)`: arrays, tensors or frames; x (rows, ...), also a dictionary of arrays, by whose names the net
  takes them;
- a `Table`: named columns, standardised on the training split only;
- a torch dataset or DataLoader of (x, y) pairs, or of dictionaries with the target as `labels`, `target` or
  `y`: its rows are loaded as they are needed (`trainables.lazy_split`), unless it is a TensorDataset or
  `data_config.preload` is true;
- `(train, val)` or `(train, val, test)` of such datasets, or of (x, y) arrays: already split.

The criterion, or `data_config.task`, and the shape of y determine whether y is classes, labels or numbers;
see `trainables.targets`. `split` fixes, by a seed of its own, which rows are trained on, validated on and
kept for the final test; every trial of a sweep has the same split. `load` never returns a test row: only
`load_test` does, and `load_whole` for counting.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainables.bundled import load_breast_cancer, load_diabetes, load_digits, load_synthetic
from trainables.criteria import of_criterion
from trainables.data_function import Pair, is_stream, lazy_sources, read_returned
from trainables.data_parts import AnySplit, Data, DataPart, Split
from trainables.imports import CLONE, add_paths, call, resolve, takes
from trainables.input_fields import InputField, read_inputs
from trainables.lazy_source import LazySource, inspect_sources
from trainables.lazy_split import LazySplit
from trainables.run_config import DATA_KEYS, LAZY_KEYS, RunConfig, RunError
from trainables.splitting import SplitConfig, split
from trainables.table import Table, load_table
from trainables.targets import Targets, join_targets, read_targets

__all__ = [
    "AnySplit",
    "Data",
    "DataPart",
    "Split",
    "Table",
    "load",
    "load_breast_cancer",
    "load_diabetes",
    "load_digits",
    "load_synthetic",
    "load_table",
    "load_test",
    "load_whole",
    "origin",
    "reopen",
    "split",
    "subsample",
]


def load(run: RunConfig, paths: Sequence[str | Path] = ()) -> Data:
    """The training and validation rows of `run.data`.

    Args:
        run: its `data`, and `data_config`: the function's keywords, and `split_seed` (0),
            `val_fraction` and `test_fraction` (0.2 each), `folds` (none), `stratify` (false), `task` and
            `inputs` (by the criterion and the values).
        paths: folders in which modules and relative file paths are looked for, before the working
            directory and the clone.

    Raises:
        RunError: if the function cannot be found or called, or its result cannot be used.
    """
    return no_data(run) if run.data is None else _data(_read(run, paths), run)


def no_data(run: RunConfig) -> Data:
    """Data without rows, for a custom loop with data of its own.

    Raises:
        RunError: if the run config has no custom loop.
    """
    if run.train is None:
        raise RunError("run.data: missing; only a loop of your own (`train`) does without")
    none = Split(np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
    return Data((DataPart(none, none),), "regression", 0, "", origin(run))


def reopen(data: Data, run: RunConfig, paths: Sequence[str | Path] = ()) -> Data:
    """Data loaded by another process; lazy rows get the datasets of this process.

    Raises:
        RunError: as `load`, or if the data function returns other data here.
    """
    splits = [split for part in data.parts for split in (part.train, part.val)]
    if all(not isinstance(split, LazySplit) or split.source is not None for split in splits):
        return data
    source = _lazy_sources(_call_function(run, paths), run)
    count = 1 + max(split.which for split in splits if isinstance(split, LazySplit))
    if source is None or len(source) < count:
        raise RunError(f"{run.data} returns other data in the process of a trial than at first")

    def of(split: AnySplit) -> AnySplit:
        return replace(split, source=source[split.which]) if isinstance(split, LazySplit) else split

    return replace(
        data, parts=tuple(replace(part, train=of(part.train), val=of(part.val)) for part in data.parts)
    )


def load_whole(run: RunConfig, paths: Sequence[str | Path] = ()) -> tuple[Data, DataPart, AnySplit | None]:
    """`load`, the split without folds, and `load_test`, with one call of the data function.

    For counting rows that they share before a sweep; nothing is learnt from or chosen by the test rows.

    Raises:
        RunError: as `load`.
    """
    if run.data is None:
        data = no_data(run)
        return data, data.parts[0], None
    source = _read(run, paths)
    data = _data(source, run)
    unfolded = data if len(data.parts) == 1 else _data(source, run, folded=False)
    return data, unfolded.parts[0], _test(source, run)


def source_and_training_rows(run: RunConfig, paths: Sequence[str | Path] = ()) -> tuple[Any, np.ndarray]:
    """The Table or arrays of the data function, and the indices of the training rows without folds.

    (None, no rows) for data that are already split, or lazy.

    Raises:
        RunError: as `load`.
    """
    source = _read(run, paths)
    if isinstance(source, (_Ready, LazySource)):
        return None, np.zeros(0, dtype=np.int64)
    ((train, _),), _ = SplitConfig.of(run).divide(source.all_targets)
    return source, train


def load_test(run: RunConfig, paths: Sequence[str | Path] = ()) -> AnySplit | None:
    """The test rows, in the scale of the training rows without folds: for retrain, once.

    None if `run.data` returns (train, val) datasets and no third one.

    Raises:
        RunError: as `load`.
    """
    return None if run.data is None else _test(_read(run, paths), run)


def origin(run: RunConfig) -> str:
    """The data function and its keyword arguments as one string, by which configs have the same data."""
    return json.dumps([run.data, run.data_config], sort_keys=True, default=str)


def subsample(data: Data, run: RunConfig) -> Data:
    """The data with `run.data_fraction` of the training rows, at least one, and all validation rows.

    The rows are drawn with the split's seed: trials of one fraction train on the same rows, and those of
    a larger fraction on these and others. Standardisation is by all training rows. Fingerprint and origin
    are those of the whole data.
    """
    if run.data_fraction == 1:
        return data
    seed = SplitConfig.of(run).split_seed

    def of(part: DataPart) -> DataPart:
        order = np.random.default_rng([seed, 1]).permutation(len(part.train))
        rows = np.sort(order[: max(1, round(run.data_fraction * len(order)))])
        return replace(part, train=part.train.chosen(rows))

    return replace(data, parts=tuple(of(part) for part in data.parts))


@dataclass(frozen=True, slots=True)
class _Arrays:
    """Arrays of all rows, used unchanged."""

    x: np.ndarray
    all_targets: Targets
    fields: tuple[InputField, ...]

    def __len__(self) -> int:
        return len(self.x)

    def features(self, rows: np.ndarray, train: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = self.x[rows]
        return chosen

    def targets(self, rows: np.ndarray, train: np.ndarray) -> np.ndarray:
        return _cast_targets(self.all_targets.values[rows])

    def target_scale(self, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(1), np.ones(1)


@dataclass(frozen=True, slots=True)
class _Ready:
    """Data that the user's function has already split."""

    splits: tuple[Split, ...]
    all_targets: Targets
    fields: tuple[InputField, ...]


Source = Table | _Arrays | _Ready | LazySource


def _read(run: RunConfig, paths: Sequence[str | Path]) -> Source:
    """Call the data function, and read what it returns."""
    return _source(_call_function(run, paths), run)


def _call_function(run: RunConfig, paths: Sequence[str | Path]) -> Any:
    """Call the data function."""
    assert run.data is not None, "without data nothing is read"
    SplitConfig.of(run)  # raises for a wrong value, before the function fails of it in words of its own
    folders = [*map(Path, paths), Path.cwd(), CLONE]
    add_paths(folders)
    function = resolve(run.data)
    keywords = {
        name: value
        for name, value in run.data_config.items()
        if name not in DATA_KEYS or takes(function, name)
    }
    return call(run.data, given=keywords, offered={"folders": folders})


def _lazy_sources(returned: Any, run: RunConfig) -> list[Any] | None:
    """The Datasets and DataLoaders to be read lazily; None for data to be held in memory.

    A custom loop gets arrays, and lazy sources only if they are streams.
    """
    sources = None if isinstance(returned, Table) else lazy_sources(returned, str(run.data))
    if sources is None or SplitConfig.of(run).preload:
        return None
    return sources if run.train is None or any(map(is_stream, sources)) else None


def _source(returned: Any, run: RunConfig) -> Source:
    """Read what the data function has returned."""
    assert run.data is not None
    config, criterion = SplitConfig.of(run), of_criterion(run.criterion, run.criterion_config)
    lazy = _lazy_sources(returned, run)
    if lazy is not None:
        return inspect_sources(lazy, run.data, run, criterion)
    _check_in_memory(run, config)
    if isinstance(returned, Table):
        return returned.for_criterion(criterion, config.task)
    pairs = read_returned(returned, run.data, config.split_seed)
    targets = read_targets(
        join_targets([y for _, y in pairs]) if len(pairs) > 1 else pairs[0][1],
        task=config.task,
        criterion=criterion,
        where=f"{run.data}: the targets",
    )
    # A custom loop uses the arrays itself, and gets the floats that nets compute with.
    kind = config.inputs or ("float" if run.train is not None else None)
    inputs = [read_inputs(x, kind, f"{run.data}: the inputs") for x, _ in pairs]
    _check_rows(inputs, pairs, run.data)
    if len(pairs) == 1:
        return _Arrays(inputs[0][0], targets, inputs[0][1])
    ends = np.cumsum([len(x) for x, _ in inputs])
    split_targets = np.split(_cast_targets(targets.values), ends[:-1])
    splits = tuple(Split(x, y) for (x, _), y in zip(inputs, split_targets, strict=True))
    return _Ready(splits, targets, inputs[0][1])


def _check_in_memory(run: RunConfig, config: SplitConfig) -> None:
    """Check that no setting is for lazy data.

    Raises:
        RunError: if one is.
    """
    for key in LAZY_KEYS:
        is_lazy = key in run.data_config and key != "preload" and not takes(resolve(str(run.data)), key)
        if is_lazy and not config.preload and run.train is None:
            raise RunError(
                f"data_config.{key}: is for a Dataset or DataLoader, and {run.data} returns rows in memory; "
                "leave it out"
            )


def _check_rows(
    inputs: Sequence[tuple[np.ndarray, tuple[InputField, ...]]], pairs: Sequence[Pair], name: str
) -> None:
    """Check that each row of inputs has its target, and that all splits have the same inputs.

    Raises:
        RunError: if not.
    """
    for (x, _), (_, y) in zip(inputs, pairs, strict=True):
        if len(x) != len(y):
            raise RunError(f"{name} returned {len(x)} inputs and {len(y)} targets")
    if len({(x.shape[1:], fields) for x, fields in inputs}) > 1:
        shapes = ", ".join(str(x.shape) for x, _ in inputs)
        raise RunError(f"{name}: the splits have different inputs, of the shapes {shapes}")


def _cast_targets(values: np.ndarray) -> np.ndarray:
    """Class numbers unchanged, labels and numbers as float32."""
    return values if values.dtype == np.int64 else values.astype(np.float32)


def _data(source: Source, run: RunConfig, *, folded: bool = True) -> Data:
    """The rows to train and validate on."""
    config, targets = SplitConfig.of(run), source.all_targets
    folds = config.folds if folded else None
    if isinstance(source, (_Ready, LazySource)) and len(source.splits) > 1:
        parts: tuple[DataPart, ...] = (DataPart(source.splits[0], source.splits[1]),)
    elif isinstance(source, LazySource):
        train_and_val, _ = config.divide(targets, folds, len(source.splits[0]))
        (whole,) = source.splits
        parts = tuple(DataPart(whole.chosen(train), whole.chosen(val)) for train, val in train_and_val)
    else:
        assert not isinstance(source, _Ready)
        train_and_val, _ = config.divide(targets, folds)
        parts = tuple(_part(source, train, val) for train, val in train_and_val)
    return Data(
        parts,
        targets.task,
        len(targets.classes),
        _fingerprint(parts),
        origin(run),
        targets.classes,
        targets.labels,
        () if isinstance(source, Table) else source.fields,
        config.inputs,
    )


def _test(source: Source, run: RunConfig) -> AnySplit | None:
    """The test rows, in the scale of the training rows without folds."""
    if isinstance(source, (_Ready, LazySource)) and len(source.splits) > 1:
        return source.splits[2] if len(source.splits) == 3 else None
    assert not isinstance(source, _Ready)
    count = len(source.splits[0]) if isinstance(source, LazySource) else len(source)
    ((train, _),), test = SplitConfig.of(run).divide(source.all_targets, rows=count)
    if isinstance(source, LazySource):
        return source.splits[0].chosen(test)
    return Split(source.features(test, train), source.targets(test, train))


def _part(source: Table | _Arrays, train: np.ndarray, val: np.ndarray) -> DataPart:
    mean, std = source.target_scale(train)
    return DataPart(
        Split(source.features(train, train), source.targets(train, train)),
        Split(source.features(val, train), source.targets(val, train)),
        mean,
        std,
    )


def _fingerprint(parts: Sequence[DataPart]) -> str:
    """sha256 of all arrays; of lazy rows, of their numbers, shape and targets if known."""
    digest = hashlib.sha256()
    for rows in (rows for part in parts for rows in (part.train, part.val)):
        arrays: tuple[np.ndarray | None, ...]
        if isinstance(rows, LazySplit):
            arrays = rows.rows, rows.targets
            digest.update(f"{rows.which}{rows.length}{rows.example.dtype}{rows.example.shape}".encode())
        else:
            arrays = rows.x, rows.y
        for array in (array for array in arrays if array is not None):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
