"""A study's trials and curves as tables, for `launch.py export`, `Study.trials` and `Study.curves`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from raysweep.config import Sweep
from raysweep.study.journal.log import read_events
from raysweep.study.journal.pareto import scored_point
from raysweep.study.journal.records import StudyRecord, TrialRecord, fold
from raysweep.study.storage.layout import StudyFolder

Form = Literal["csv", "parquet", "json"]
"""The format of tables; also their files' suffix."""

TRIAL_COLUMNS = (
    "trial",
    "status",
    "value",
    "epoch",
    "epochs_run",
    "source",
    "reason",
    "code",
    "started",
    "ended",
    "duration_s",
)
"""The columns of every trial; its settings by flat key and the metrics of `epoch` follow."""
CURVE_COLUMNS = ("trial", "generation", "epoch", "time")


def trials_table(folder: StudyFolder) -> pd.DataFrame:
    """A row for each trial, in order of number; for a staged study, with the stage of each.

    `value` is the sweep's objective (`last` or `best`), in the user's direction, and `epoch` the one at which
    it was reached; the metrics are those of that epoch. Times are UTC.
    """
    return _of_stages(folder, _trials)


def curves_table(folder: StudyFolder) -> pd.DataFrame:
    """A row for each epoch of each trial, as reported, with all its metrics; see `trials_table`."""
    return _of_stages(folder, _curves)


def write_tables(folder: StudyFolder, form: Form, into: Path) -> list[Path]:
    """Write a study's trials and curves as `trials.FORM` and `curves.FORM`; returns their paths.

    CSV and Parquet have one type for each column: lists, and columns of several types, are written as JSON
    there.

    Args:
        folder: the study.
        form: `csv`, `parquet` or `json` (a list of objects, with null for missing values).
        into: a folder, made if missing.

    Raises:
        OSError: if a file cannot be written.
    """
    into.mkdir(parents=True, exist_ok=True)
    tables = {"trials": trials_table(folder), "curves": curves_table(folder)}
    paths = []
    for name, table in tables.items():
        path = into / f"{name}.{form}"
        draft = path.with_name(f".{path.name}.tmp")
        if form == "csv":
            _of_plain_columns(table).to_csv(draft, index=False)
        elif form == "parquet":
            _of_plain_columns(table).to_parquet(draft, index=False)
        else:
            table.to_json(draft, orient="records", date_format="iso", indent=1, double_precision=15)
        draft.replace(path)
        paths.append(path)
    return paths


def _of_plain_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The table with JSON in columns that hold lists, mappings or values of several types."""
    plain = table.copy()
    for name in filter(lambda name: pd.api.types.is_object_dtype(table[name]), table.columns):
        values = table[name].dropna()
        if values.map(type).nunique() > 1 or values.map(lambda value: isinstance(value, list | dict)).any():
            plain[name] = values.map(json.dumps).reindex(table.index)
    return plain


def _of_stages(folder: StudyFolder, table: Any) -> pd.DataFrame:
    if not folder.stored_sweep().stages:
        return table(*_read(folder))
    parts = {stage.name: table(*_read(stage)) for stage in folder.stages()}
    known = [part.assign(stage=name) for name, part in parts.items() if len(part)]
    return pd.concat(known, ignore_index=True) if known else pd.DataFrame(columns=[*TRIAL_COLUMNS, "stage"])


def _read(folder: StudyFolder) -> tuple[Sweep, StudyRecord]:
    sweep = folder.stored_sweep()
    return sweep, fold(read_events(folder.journal_dir), sweep.objective)


def _trials(sweep: Sweep, record: StudyRecord) -> pd.DataFrame:
    rows = [_trial(sweep, record, trial) for trial in record.trials.values()]
    return _frame(rows, TRIAL_COLUMNS, ("started", "ended"))


def _trial(sweep: Sweep, record: StudyRecord, trial: TrialRecord) -> dict[str, Any]:
    value, point = trial.objective_value(record.objective, sweep.sign), scored_point(trial, record.objective)
    known = trial.started_at is not None and trial.ended_at is not None
    return {
        "trial": trial.number,
        "status": trial.status,
        "value": math.nan if value is None else value,
        "epoch": trial.objective_epoch(record.objective),
        "epochs_run": trial.work,
        "source": trial.source,
        "reason": trial.reason,
        "code": str(trial.code),
        "started": trial.started_at,
        "ended": trial.ended_at,
        "duration_s": trial.ended_at - trial.started_at if known else math.nan,  # type: ignore[operator]
        **trial.config,
        **({} if point is None else point.metrics),
    }


def _curves(sweep: Sweep, record: StudyRecord) -> pd.DataFrame:
    return _frame(list(_points(record)), CURVE_COLUMNS, ("time",))


def _points(record: StudyRecord) -> Iterator[Mapping[str, Any]]:
    for trial in record.trials.values():
        for point in trial.curve:
            known = {"trial": trial.number, "generation": point.generation, "epoch": point.epoch}
            yield {**known, "time": point.t, **point.metrics}


def _frame(rows: list[Any], columns: tuple[str, ...], times: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=None if rows else list(columns))
    for column in times:
        frame[column] = pd.to_datetime(frame[column].astype("float64"), unit="s", utc=True)
    return frame
