"""Predicts the rows of a file, and scores the predictions if the file has the target."""

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
"""Name of the inputs in a .npz file with more than one array besides the target."""


def predict_file(folder: Path, file: Path) -> tuple[pd.DataFrame, list[str]]:
    """Predictions for a file's rows, and notes for the user, one sentence each.

    Columns that identify rows (none missing, none twice) and are no inputs are put before the predictions.
    If the file has the target, a note gives the scores: accuracy or r2, and the metrics of the study.

    Args:
        folder: folder of the model.
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
        target = None if truth is None else pd.Series(list(truth) if truth.ndim == 1 else [])
        if target is None or len(target) != len(answers):
            return answers, []
        return answers, _score_notes(model, outputs, target, answers)
    csv_options = {key: value for key, value in model.run.data_config.items() if key in READING}
    frame = model.columns.read(file, **(csv_options if model.columns.named else {}))
    unused = model.columns.check(frame, str(file))
    identifiers = [name for name in unused if identifies_rows(frame[name])]
    unused = [name for name in unused if name not in identifiers]
    notes = [f"{file}: not used: {', '.join(unused)}"] if unused else []
    notes += [f"{file}: {note}" for note in model.columns.unseen(frame)]
    outputs = model.outputs_of(frame, str(file))
    answers = model.answers(outputs, frame.index)
    name = model.columns.target
    if name in frame.columns and name in answers.columns:
        notes += _score_notes(model, outputs, frame[name], answers)
    kept = [column for column in identifiers if column not in answers.columns]
    return pd.concat([frame[kept], answers], axis=1), notes


def identifies_rows(column: pd.Series) -> bool:
    """Whether each value of a column identifies one row."""
    return bool(column.notna().all()) and column.is_unique and not pd.api.types.is_float_dtype(column)


def _arrays(file: Path, model: Model) -> tuple[Rows, np.ndarray | None]:
    """Inputs, and targets if the file has them.

    Raises:
        RunError: if it cannot be read, or it is not clear which array is the input.
    """
    try:
        loaded: Any = np.load(file, allow_pickle=False)
        arrays = {INPUTS: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
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


def _score_notes(model: Model, outputs: torch.Tensor, truth: pd.Series, answers: pd.DataFrame) -> list[str]:
    """A note with the scores against a target in the file; empty if they cannot be computed."""
    known, target = truth.notna().to_numpy(), model.columns.target
    if target not in answers.columns or not known.any():
        return []
    try:
        values, predicted = target_values(truth), answers[target].to_numpy()[known]
    except RunError:
        return []
    if model.is_regression:
        if values.dtype.kind not in "fiub":
            return []
        spread = float(((values - values.mean()) ** 2).sum())
        scores = {"r2": 1 - float(((values - predicted) ** 2).sum()) / spread} if spread else {}
        codes = ((values.astype(np.float64) - model.mean) / model.std).astype(np.float32).reshape(-1, 1)
        has_code = np.ones(len(values), dtype=bool)
    else:
        names = _as_names(values)
        scores = {"accuracy": float((names == _as_names(predicted)).mean())}
        code_of = {name: code for code, name in enumerate(model.columns.classes)}
        codes = np.array([code_of.get(name, -1) for name in names], dtype=np.int64)
        has_code = codes >= 0
    rows = torch.from_numpy(np.flatnonzero(known)[has_code])
    if len(rows):
        scores |= _study_scores(model, outputs[rows], torch.from_numpy(codes[has_code]))
    if not scores:
        return []
    listed = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
    return [f"{target} is in the file: {listed} on {len(values)} rows"]


def _study_scores(model: Model, outputs: torch.Tensor, targets: torch.Tensor) -> Mapping[str, float]:
    """Values of the study's metrics besides accuracy and r2: its loss, and those of the run config."""
    paired = model.meaning.pair(outputs, targets)
    scores = {}
    for name in model.about.get("metrics", ()):
        if name == "val_loss":
            scores[name] = float(build_criterion(model.run)(*paired))
        elif name in model.run.metrics:
            metric = resolve(model.run.metrics[name])
            scores[name] = call_metric(metric, name, model.meaning, *paired, mean=model.mean, std=model.std)
    return scores


def _as_names(values: np.ndarray) -> np.ndarray:
    """Names of classes; whole numbers stored as floats are named like integers."""
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    return np.array([str(value) for value in values])
