"""Data by dotted path, as numpy arrays in one fixed split; the test rows stay behind a door.

A data function returns one of

- `(x, y)`: arrays, tensors or frames; x (rows, ...) becomes float32, y decides the task: integers and
  booleans are classes, other numbers a regression;
- a `Table`: named columns, standardised on the training split only;
- `(train, val)` or `(train, val, test)`: torch datasets of (x, y) pairs, already split.

`split` fixes, by a seed of its own, which rows are trained on, validated on and set apart for the one
test at the very end; every trial of a sweep sees the same split. `load` never returns a test row:
`load_test` is the door to them, and `load_whole` for those who only count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainables.bundled import load_breast_cancer, load_diabetes, load_digits, load_synthetic
from trainables.imports import CLONE, add_paths, call, resolve, takes
from trainables.run import DATA_WORDS, RunConfig, RunError
from trainables.table import Table, Task, load_table

__all__ = [
    "Data",
    "Part",
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
    "split",
    "thinned",
]


@dataclass(frozen=True, slots=True)
class Split:
    """Inputs and targets of some rows.

    Attributes:
        x: (rows, ...), float32.
        y: classes (rows,), int64, or numbers (rows, outputs), float32.
    """

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True, slots=True)
class Part:
    """One training: the rows to train on, those to validate on, and the target's scale.

    Attributes:
        train: trained on.
        val: validated on.
        mean: subtracted from a regression target, (outputs,); 0 where nothing was.
        std: divided by, (outputs,); predictions are `std * output + mean` in the target's own units.
    """

    train: Split
    val: Split
    mean: np.ndarray = field(default_factory=lambda: np.zeros(1))
    std: np.ndarray = field(default_factory=lambda: np.ones(1))


@dataclass(frozen=True, slots=True)
class Data:
    """What trials train on.

    Attributes:
        parts: one, or one per fold.
        task: "regression" or "classification".
        classes: their number; 0 for a regression.
        fingerprint: sha256 over all arrays here; equal data, equal fingerprint.
        origin: which function and `data_config` they came from.
    """

    parts: tuple[Part, ...]
    task: Task
    classes: int
    fingerprint: str
    origin: str

    @property
    def x_train(self) -> np.ndarray:
        """Inputs trained on, of the first part."""
        return self.parts[0].train.x

    @property
    def y_train(self) -> np.ndarray:
        """Targets trained on, of the first part."""
        return self.parts[0].train.y

    @property
    def x_val(self) -> np.ndarray:
        """Inputs validated on, of the first part."""
        return self.parts[0].val.x

    @property
    def y_val(self) -> np.ndarray:
        """Targets validated on, of the first part."""
        return self.parts[0].val.y

    @property
    def in_features(self) -> int:
        """Numbers per input row."""
        return int(np.prod(self.x_train.shape[1:]))

    @property
    def out_features(self) -> int:
        """Numbers per output row: the classes, or the columns of the target."""
        return self.classes or int(self.y_train.shape[1])


def load(run: RunConfig, paths: Sequence[str | Path] = ()) -> Data:
    """The training and validation rows that `run.data` gives.

    Args:
        run: its `data`, and `data_config`: the function's keywords, and `split_seed` (0),
            `val_fraction` and `test_fraction` (0.2 each), `folds` (none), `task` (inferred).
        paths: folders in which modules and relative file paths are looked for, before the working
            directory and the clone.

    Raises:
        RunError: if the function cannot be found or called so, or what it returns cannot be used.
    """
    return _data(_read(run, paths), run)


def load_whole(run: RunConfig, paths: Sequence[str | Path] = ()) -> tuple[Data, Part, Split | None]:
    """`load`, the one split there would be without folds, and `load_test`, of one call of the function.

    For counting what they share before a sweep; nothing is learnt or chosen by the test rows here.

    Raises:
        RunError: as `load`.
    """
    source = _read(run, paths)
    data = _data(source, run)
    unfolded = data if len(data.parts) == 1 else _data(source, run, folded=False)
    return data, unfolded.parts[0], _test(source, run)


def source_and_training_rows(run: RunConfig, paths: Sequence[str | Path] = ()) -> tuple[Any, np.ndarray]:
    """What the data function gives, if it is a Table or arrays, and the numbers of its training rows.

    (None, no rows) where it gives data that are split already.

    Raises:
        RunError: as `load`.
    """
    source = _read(run, paths)
    if isinstance(source, _Ready):
        return None, np.zeros(0, dtype=np.int64)
    words = _words(run)
    ((train, _),), _ = split(len(source), None, words.split_seed, words.val_fraction, words.test_fraction)
    return source, train


def load_test(run: RunConfig, paths: Sequence[str | Path] = ()) -> Split | None:
    """The rows set apart, in the scale of the training rows without folds: for retrain, once.

    None if `run.data` returns (train, val) datasets and no third.

    Raises:
        RunError: as `load`.
    """
    return _test(_read(run, paths), run)


def origin(run: RunConfig) -> str:
    """The function and its keywords as one word, to see whether two configs mean the same data."""
    return json.dumps([run.data, run.data_config], sort_keys=True, default=str)


def thinned(data: Data, run: RunConfig) -> Data:
    """The data with `run.data_fraction` of the training rows, at least one; validation rows all stay.

    The rows are drawn once, by the split's seed: trials of one fraction train on the same rows, and
    those of a larger fraction on these and others. Standardisation is that of all training rows. The
    fingerprint and the origin stay those of the whole, which is what was loaded.
    """
    if run.data_fraction == 1:
        return data
    seed = _words(run).split_seed

    def of(part: Part) -> Part:
        order = np.random.default_rng([seed, 1]).permutation(len(part.train.x))
        rows = np.sort(order[: max(1, round(run.data_fraction * len(order)))])
        return replace(part, train=Split(part.train.x[rows], part.train.y[rows]))

    return replace(data, parts=tuple(of(part) for part in data.parts))


def split(
    rows: int, folds: int | None, seed: int, val_fraction: float, test_fraction: float
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Divide row numbers into (train, val) pairs, one or one per fold, and test.

    The test rows come first off the seeded permutation, so folds never change which they are.

    Raises:
        RunError: if a split would have no row.

    >>> pairs, test = split(10, None, 0, 0.2, 0.2)
    >>> [len(part) for part in (*pairs[0], test)]
    [6, 2, 2]
    """
    order = np.random.default_rng(seed).permutation(rows)
    test, rest = np.split(order, [round(test_fraction * rows)])
    if folds is None:
        val, train = np.split(rest, [round(val_fraction * rows)])
        pairs = [(train, val)]
    else:
        blocks = np.array_split(rest, folds)
        pairs = [
            (np.concatenate([*blocks[:fold], *blocks[fold + 1 :]]), blocks[fold]) for fold in range(folds)
        ]
    if any(len(train) == 0 or len(val) == 0 for train, val in pairs):
        raise RunError(
            f"data_config: {rows} rows are too few for val_fraction {val_fraction}, "
            f"test_fraction {test_fraction} and folds {folds}; lower them"
        )
    return pairs, test


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of `data_config` that are about the split."""

    split_seed: int = 0
    val_fraction: float = 0.2
    test_fraction: float = 0.2
    folds: int | None = None
    task: Task | None = None

    def __post_init__(self) -> None:
        if not (0 < self.val_fraction < 1 and 0 <= self.test_fraction < 1):
            raise RunError("data_config: val_fraction is in (0, 1) and test_fraction in [0, 1)")
        if self.folds is not None and self.folds < 2:
            raise RunError(f"data_config.folds: {self.folds}; at least 2 are needed, or leave it out")
        if self.task not in (None, "regression", "classification"):
            raise RunError(f"data_config.task: 'regression' or 'classification', not {self.task!r}")


@dataclass(frozen=True, slots=True)
class _Arrays:
    """Whole arrays, used as they are."""

    x: np.ndarray
    y: np.ndarray
    task: Task

    def __len__(self) -> int:
        return len(self.x)

    @property
    def classes(self) -> range:
        return range(_count_classes(self.y)) if self.task == "classification" else range(0)

    def features(self, rows: np.ndarray, train: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = self.x[rows]
        return chosen

    def targets(self, rows: np.ndarray, train: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = self.y[rows]
        return chosen

    def target_scale(self, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(1), np.ones(1)


@dataclass(frozen=True, slots=True)
class _Ready:
    """Data the user's function has split already."""

    train: Split
    val: Split
    test: Split | None
    task: Task
    classes: int


def _words(run: RunConfig) -> _Words:
    return _Words(**{word: value for word, value in run.data_config.items() if word in DATA_WORDS})


def _read(run: RunConfig, paths: Sequence[str | Path]) -> Table | _Arrays | _Ready:
    """Call the data function and make one of three things of what it returns."""
    folders = [*map(Path, paths), Path.cwd(), CLONE]
    add_paths(folders)
    function = resolve(run.data)
    keywords = {
        name: value
        for name, value in run.data_config.items()
        if name not in DATA_WORDS or takes(function, name)
    }
    found = call(run.data, given=keywords, offered={"folders": folders})
    task = _words(run).task
    if isinstance(found, Table):
        return found
    if not isinstance(found, (tuple, list)) or len(found) not in (2, 3):
        raise RunError(
            f"{run.data} returned {type(found).__name__}; it should return (x, y) arrays, "
            "(train, val[, test]) datasets or a trainables.data.Table"
        )
    if all(_is_array(value) for value in found) and len(found) == 2:
        x, y = found
        return _arrays(x, y, task, run.data)
    return _ready(found, task, run.data)


def _arrays(x: Any, y: Any, task: Task | None, name: str) -> _Arrays:
    """(x, y) in the types and shapes we train on."""
    inputs, targets = np.asarray(x), np.asarray(y)
    if len(inputs) != len(targets):
        raise RunError(f"{name} returned {len(inputs)} inputs and {len(targets)} targets")
    if task is None:
        task = "classification" if targets.dtype.kind in "iub" else "regression"
    if task == "classification":
        targets = targets.reshape(-1).astype(np.int64)
    else:
        targets = targets.reshape(len(targets), -1).astype(np.float32)
    if inputs.ndim == 1:
        inputs = inputs[:, None]
    return _Arrays(inputs.astype(np.float32), targets, task)


def _ready(found: Sequence[Any], task: Task | None, name: str) -> _Ready:
    """Datasets of (x, y) pairs as arrays."""
    arrays = []
    for dataset in found:
        pairs = [dataset[row] for row in range(len(dataset))]
        if not pairs or len(pairs[0]) != 2:
            raise RunError(f"{name}: each dataset should hold (x, y) pairs, at least one")
        xs, ys = zip(*pairs, strict=True)
        arrays.append(
            _arrays(np.stack([np.asarray(x) for x in xs]), np.stack([np.asarray(y) for y in ys]), task, name)
        )
    kind = arrays[0].task
    splits = [Split(part.x, part.y) for part in arrays]
    classes = max(_count_classes(part.y) for part in arrays) if kind == "classification" else 0
    return _Ready(splits[0], splits[1], splits[2] if len(splits) == 3 else None, kind, classes)


def _data(source: Table | _Arrays | _Ready, run: RunConfig, *, folded: bool = True) -> Data:
    """The rows to train and validate on."""
    parts: tuple[Part, ...]
    if isinstance(source, _Ready):
        parts, task, classes = (Part(source.train, source.val),), source.task, source.classes
    else:
        words = _words(run)
        folds = words.folds if folded else None
        train_and_val, _ = split(
            len(source), folds, words.split_seed, words.val_fraction, words.test_fraction
        )
        parts = tuple(_part(source, train, val) for train, val in train_and_val)
        task, classes = source.task, len(source.classes)
    return Data(parts, task, classes, _fingerprint(parts), origin(run))


def _test(source: Table | _Arrays | _Ready, run: RunConfig) -> Split | None:
    """The rows set apart, in the scale of the training rows without folds."""
    if isinstance(source, _Ready):
        return source.test
    words = _words(run)
    ((train, _),), test = split(len(source), None, words.split_seed, words.val_fraction, words.test_fraction)
    return Split(source.features(test, train), source.targets(test, train))


def _part(source: Table | _Arrays, train: np.ndarray, val: np.ndarray) -> Part:
    mean, std = source.target_scale(train)
    return Part(
        Split(source.features(train, train), source.targets(train, train)),
        Split(source.features(val, train), source.targets(val, train)),
        mean,
        std,
    )


def _is_array(value: Any) -> bool:
    """Whether it is an array, tensor or frame, rather than a dataset of pairs."""
    return hasattr(value, "__array__") or (isinstance(value, list) and not isinstance(value[0], tuple))


def _count_classes(codes: np.ndarray) -> int:
    return int(codes.max()) + 1


def _fingerprint(parts: Sequence[Part]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        for array in (part.train.x, part.train.y, part.val.x, part.val.y):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
