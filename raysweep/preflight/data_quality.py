"""Preflight's checks of the data: NaN and infinite values, constant columns, rare classes, leaked rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from raysweep.advice.data import SHARED_SHARE, DataFacts
from raysweep.preflight.check import NOTE, OK, PROBLEM, PreflightCheck
from trainables.data import Data
from trainables.error_text import few

LEAK = "leak"
"""Name of the check of rows that splits share."""

RARE = 0.1
"""A class is rare with less than this fraction of an even share of the rows."""

FAR_APART = 1e3
"""If the scales of columns differ by more than this factor, a net sees only the largest."""

SHOWN = 6
"""Number of classes or labels that a message names."""


def data_checks(data: Data, facts: DataFacts) -> Iterator[PreflightCheck]:
    """Check the data that trials train on.

    Args:
        data: as trials get them.
        facts: counts of their rows.
    """
    if data.is_lazy:
        yield from _lazy_checks(data, facts)
        return
    x, y = data.x_train, data.y_train
    shape = " x ".join(map(str, x.shape))
    parts = f"{len(data.parts)} folds" if len(data.parts) > 1 else f"{facts.val_rows} rows to validate on"
    task = _task(data)
    message = f"{shape} {x.dtype} to train on, {parts}, {facts.test_rows} to test on; {task}"
    yield PreflightCheck(OK, "data", f"{message}; fingerprint {data.fingerprint[:12]}")
    wrong = sum(int(np.count_nonzero(~np.isfinite(array))) for array in (x, y, data.x_val, data.y_val))
    if wrong:
        yield PreflightCheck(
            PROBLEM, "numbers", f"{wrong} values are NaN or infinite", "fill or drop them in the data"
        )
        return  # the checks below compute with them
    yield from _columns(x.reshape(len(x), -1))
    if data.labels:
        yield from _labels(y)
    else:
        yield from _classes(data, y, np.unique(data.y_val), facts) if data.classes else _target(y)
    yield from _leak(facts, "test", facts.test_in_train, facts.test_rows)
    yield from _leak(facts, "validation", facts.val_in_train, facts.first_val_rows)


def _lazy_checks(data: Data, facts: DataFacts) -> Iterator[PreflightCheck]:
    """Check what is known of rows that are loaded as they are needed."""
    shape = " x ".join(map(str, (facts.trained, *data.example.shape[1:])))
    message = f"{shape} {data.example.dtype} to train on, {facts.val_rows} rows to validate on, "
    message += f"{facts.test_rows} to test on; {_task(data)}; fingerprint {data.fingerprint[:12]}"
    yield PreflightCheck(OK, "data", message)
    if not np.isfinite(data.example).all():
        yield PreflightCheck(
            PROBLEM, "numbers", "the first rows hold NaN or infinite values", "fill or drop them in the data"
        )
        return
    yield PreflightCheck(
        NOTE,
        "rows",
        "they are loaded as they are needed, so values and rows that splits share are not checked",
        "set data_config.preload: true to check them, if they fit into memory",
    )
    train, val = (getattr(split, "targets", None) for split in (data.parts[0].train, data.parts[0].val))
    if data.classes and train is not None and val is not None:
        yield from _classes(data, train, np.unique(val), facts)


def _columns(x: np.ndarray) -> Iterator[PreflightCheck]:
    """Check x, (rows, columns), for constant columns and scales far apart."""
    spread = x.std(0, dtype=np.float64)
    constant = int(np.count_nonzero(x.min(0) == x.max(0)))
    if constant == x.shape[1]:
        yield PreflightCheck(PROBLEM, "columns", "every column is constant: there is nothing to learn from")
        return
    if constant:
        yield PreflightCheck(NOTE, "columns", f"{constant} of {x.shape[1]} are constant in the training rows")
    real = spread[x.min(0) < x.max(0)]
    factor = float(real.max() / np.median(real))
    largest = float(np.abs(x).max() / np.median(real))
    if factor > FAR_APART or largest > FAR_APART:
        fix = "standardise them; a Table is"
        yield PreflightCheck(NOTE, "columns", f"scales differ by a factor of {max(factor, largest):.0e}", fix)


def _task(data: Data) -> str:
    """What is to be predicted, in words; classes by name if they have names."""
    if data.labels:
        return f"{data.labels} labels per row"
    if not data.classes:
        return f"regression of {data.out_features}"
    if data.names == tuple(map(str, range(data.classes))):
        return f"{data.classes} classes"
    return f"{data.classes} classes: {few(data.names, SHOWN)}"


def _classes(data: Data, y: np.ndarray, validated: np.ndarray, facts: DataFacts) -> Iterator[PreflightCheck]:
    """Check that every class is trained and validated on, and how many rows the rarest has."""
    codes = y[y >= 0]  # a class that the criterion ignores is below 0, or above the others
    counts = np.bincount(codes.reshape(-1), minlength=data.classes)[: data.classes]
    names = data.names or tuple(map(str, range(data.classes)))
    rarest, even = int(counts.argmin()), counts.sum() / data.classes
    untrained = [names[code] for code in validated if 0 <= code < data.classes and not counts[code]]
    unvalidated = [names[code] for code in np.flatnonzero(counts) if code not in validated]
    if untrained:
        message = f"{few(untrained, SHOWN)}: validated on and never trained on"
        yield PreflightCheck(PROBLEM, "classes", message, "set data_config.stratify: true, or drop them")
    elif np.count_nonzero(counts) == 1:
        yield PreflightCheck(
            PROBLEM, "classes", "all training rows are of one class: there is nothing to learn"
        )
    elif counts[rarest] < RARE * even:
        message = f"class {names[rarest]} has {counts[rarest]} of {counts.sum()} training rows"
        fix = "use more metrics than accuracy, or weight the criterion"
        yield PreflightCheck(NOTE, "classes", message, fix)
    else:
        yield PreflightCheck(OK, "classes", f"{counts.min()} to {counts.max()} training rows each")
    for split, missing in (
        ("validation", unvalidated),
        ("test", [names[code] for code in facts.untested]),
    ):
        if missing:
            message = f"none is of class {few(missing, SHOWN)}"
            fix = "data_config.stratify: true gives every part its share, if a class has enough rows"
            yield PreflightCheck(NOTE, f"{split} rows", message, fix)


def _labels(y: np.ndarray) -> Iterator[PreflightCheck]:
    """Check that every label is true in some training rows and false in others.

    Args:
        y: (rows, labels, ...).
    """
    share = y.reshape(len(y), y.shape[1], -1).mean(axis=(0, 2))
    constant = np.flatnonzero((share == 0) | (share == 1))
    if len(constant) == len(share):
        yield PreflightCheck(
            PROBLEM, "labels", "each is the same in all training rows: there is nothing to learn"
        )
    elif len(constant):
        which = ", ".join(map(str, constant[:SHOWN]))
        message = f"{len(constant)} of {len(share)} are the same in all training rows: label {which}"
        yield PreflightCheck(NOTE, "labels", message, "drop them, or collect rows in which they differ")
    else:
        yield PreflightCheck(
            OK, "labels", f"each is true in {share.min():.0%} to {share.max():.0%} of the training rows"
        )


def _target(y: np.ndarray) -> Iterator[PreflightCheck]:
    if (y.min(0) == y.max(0)).all():
        yield PreflightCheck(PROBLEM, "target", "is constant in the training rows: there is nothing to learn")
    elif np.abs(y).max() > FAR_APART:
        message = (
            f"reaches {np.abs(y).max():.1e}: the loss, and every useful learning rate, depend on that scale"
        )
        yield PreflightCheck(NOTE, "target", message, "standardise it")


def _leak(facts: DataFacts, split: str, shared: int, rows: int) -> Iterator[PreflightCheck]:
    message = f"{shared} of {rows} {split} rows are also training rows"
    if facts.leaks(shared, rows):
        fix = "split whole groups of equal rows (return train and val), or drop duplicates before the split"
        yield PreflightCheck(PROBLEM, LEAK, message, fix)
    elif rows and shared / rows > SHARED_SHARE:
        twins = f"{facts.twins} of {facts.trained} training rows equal another one"
        yield PreflightCheck(
            NOTE, LEAK, f"{message}, probably by coincidence: columns are few and coarse, and {twins}"
        )
    elif rows:
        yield PreflightCheck(OK, LEAK, f"{shared} of {rows} {split} rows are also training rows")
