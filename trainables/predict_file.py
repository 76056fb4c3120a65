"""Predictions for the rows of a file, and how well they met what stands in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from trainables.build import build_criterion
from trainables.data_function import TARGET_KEYS
from trainables.frames import READING
from trainables.imports import resolve
from trainables.model import Model, Rows
from trainables.named_metrics import call_metric
from trainables.run_config import RunError
from trainables.table import target_values

ARRAYS = (".npy", ".npz")
INPUTS = "x"
"""What the inputs are called in a .npz file, where there is more than one array besides the target."""


def predict_file(folder: Path, file: Path) -> tuple[pd.DataFrame, list[str]]:
    """Predictions for a file's rows, and what its user should know: a sentence each.

    Columns whose values name the rows (none missing, none twice) and that the net does not take stand before
    the predictions. Where the file has the target, how well it was met is said: accuracy or r2, and the
    metrics of the study.

    Args:
        folder: of the model.
        file: a CSV (.csv, .csv.gz) or Parquet table; or .npy, or .npz with `x`, or with the net's inputs by
            name, and `y` or `labels` if the target is known.

    Raises:
        RunError: if there is no such model or file, or the columns do not fit.
    """
    model = Model.load(folder)
    if str(file).endswith(ARRAYS):
        rows, truth = _arrays(file, model)
        outputs = model.outputs_of(rows, str(file))
        answers = model.answers(outputs)
        known = None if truth is None else pd.Series(list(truth) if truth.ndim == 1 else [])
        notes = [] if known is None or len(known) != len(answers) else _met(model, outputs, known, answers)
        return answers, notes
    how = {key: value for key, value in model.run.data_config.items() if key in READING}
    frame = model.columns.read(file, **(how if model.columns.named else {}))
    unused = model.columns.check(frame, str(file))
    kept = [name for name in unused if names_rows(frame[name])]
    unused = [name for name in unused if name not in kept]
    notes = [f"{file}: not used: {', '.join(unused)}"] if unused else []
    notes += [f"{file}: {said}" for said in model.columns.unseen(frame)]
    outputs = model.outputs_of(frame, str(file))
    answers = model.answers(outputs, frame.index)
    target = model.columns.target
    if target in frame.columns and target in answers.columns:
        notes += _met(model, outputs, frame[target], answers)
    kept = [name for name in kept if name not in answers.columns]
    return pd.concat([frame[kept], answers], axis=1), notes


def names_rows(column: pd.Series) -> bool:
    """Whether each value of a column names one row."""
    return bool(column.notna().all()) and column.is_unique and not pd.api.types.is_float_dtype(column)


def _arrays(file: Path, model: Model) -> tuple[Rows, np.ndarray | None]:
    """Inputs, and targets where the file has them.

    Raises:
        RunError: if it cannot be read, or it is not clear which array is the input.
    """
    try:
        found: Any = np.load(file, allow_pickle=False)
        arrays = {INPUTS: found} if isinstance(found, np.ndarray) else dict(found)
    except FileNotFoundError:
        raise RunError(f"{file}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise RunError(f"{file}: cannot be read as arrays: {' '.join(str(error).split())[:300]}") from None
    truth = next((arrays.pop(key) for key in TARGET_KEYS if key in arrays), None)
    names = [field.name for field in model.call.fields]
    if names:
        return {name: value for name, value in arrays.items() if name in names}, truth
    if INPUTS not in arrays and len(arrays) != 1:
        raise RunError(
            f"{file}: it holds {', '.join(arrays) or 'no inputs'}; call the inputs '{INPUTS}', rows first"
        )
    return arrays.get(INPUTS, next(iter(arrays.values()))), truth


def _met(model: Model, outputs: torch.Tensor, truth: pd.Series, answers: pd.DataFrame) -> list[str]:
    """How well a target that stands in the file was met, a sentence; nothing if it cannot be told."""
    known, target = truth.notna().to_numpy(), model.columns.target
    if target not in answers.columns or not known.any():
        return []
    try:
        values, said = target_values(truth), answers[target].to_numpy()[known]
    except RunError:
        return []
    if model.is_regression:
        if values.dtype.kind not in "fiub":
            return []
        spread = float(((values - values.mean()) ** 2).sum())
        scores = {"r2": 1 - float(((values - said) ** 2).sum()) / spread} if spread else {}
        codes = ((values.astype(np.float64) - model.mean) / model.std).astype(np.float32).reshape(-1, 1)
        coded = np.ones(len(values), dtype=bool)
    else:
        named = _as_names(values)
        scores = {"accuracy": float((named == _as_names(said)).mean())}
        places = {name: code for code, name in enumerate(model.columns.classes)}
        codes = np.array([places.get(name, -1) for name in named], dtype=np.int64)
        coded = codes >= 0
    rows = torch.from_numpy(np.flatnonzero(known)[coded])
    if len(rows):
        scores |= _study_scores(model, outputs[rows], torch.from_numpy(codes[coded]))
    if not scores:
        return []
    listed = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
    return [f"{target} is in the file: {listed} on {len(values)} rows"]


def _study_scores(model: Model, outputs: torch.Tensor, targets: torch.Tensor) -> Mapping[str, float]:
    """What the study was judged by, beside accuracy and r2: its loss, and metrics that the run names."""
    paired = model.meaning.pair(outputs, targets)
    found = {}
    for name in model.about.get("metrics", ()):
        if name == "val_loss":
            found[name] = float(build_criterion(model.run)(*paired))
        elif name in model.run.metrics:
            metric = resolve(model.run.metrics[name])
            found[name] = call_metric(metric, name, model.meaning, *paired, mean=model.mean, std=model.std)
    return found


def _as_names(values: np.ndarray) -> np.ndarray:
    """Classes as they are called: whole numbers alike, whether they came as such."""
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    return np.array([str(value) for value in values])
