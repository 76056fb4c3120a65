"""A trained model in a folder: weights, run config, and how its inputs are made from a raw table.

model.json      format, run config, columns, what the outputs mean, target scale, number of nets
weights.pt      the net's state dict, read with `weights_only`
weights_1.pt    the state dicts of further nets, if it is an ensemble
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import nn

from trainables.build import build_criterion, build_net
from trainables.cell_formats import DATE, in_writing, is_date
from trainables.class_weights import with_class_weights
from trainables.columns import Columns
from trainables.criterion_fit import meaning_of
from trainables.data import Data, DataPart, Split
from trainables.imports import CLONE, add_paths
from trainables.input_fields import read_inputs
from trainables.net_call import NetCall
from trainables.outputs import OutputMeaning
from trainables.precision import autocast
from trainables.run_config import RunConfig, RunError, settings_at

FORMAT = 2
META = "model.json"
BATCH, BATCH_NUMBERS = 4096, 2**24  # limits of rows predicted at once, and of their input numbers

Rows: TypeAlias = pd.DataFrame | np.ndarray | Mapping[str, np.ndarray]
"""Rows to predict: a table, or arrays (rows, ...)."""


def save_model(
    folder: Path,
    run: RunConfig,
    data: Data,
    weights: Sequence[Mapping[str, torch.Tensor]],
    columns: Columns,
    *,
    call: NetCall,
    import_paths: Sequence[str] = (),
    about: Mapping[str, Any],
) -> None:
    """Write a model that `Model.load` reads.

    Args:
        folder: created if missing.
        run: the run config of the training; of a schedule, the last settings are saved.
        data: gives task, sizes and the target's scale.
        weights: of the net, or of each net of an ensemble.
        columns: how its inputs are made.
        call: how the net gets them.
        import_paths: where the net's module is found, if it is the user's.
        about: more information for readers: study, trial, seed, scores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = data.parts[0]
    run = with_class_weights(settings_at(run, run.epochs), data, part)
    meta = {
        "format": FORMAT,
        "run": run.model_dump(mode="json"),
        "columns": columns.as_json(),
        "task": data.task,
        "classes": data.classes,
        "labels": data.labels,
        "outputs": data.out_features,
        "meaning": asdict(meaning_of(run, data, build_criterion(run))),
        "call": call.as_json(),
        "mean": part.mean.tolist(),
        "std": part.std.tolist(),
        "import_paths": list(import_paths),
        "nets": len(weights),
        "about": dict(about),
    }
    for number, state in enumerate(weights):
        torch.save(dict(state), folder / weights_file(number))
    (folder / META).write_text(json.dumps(meta, indent=1, default=str), encoding="utf-8")


def weights_file(number: int) -> str:
    """The file of a net's weights, by its number in the model."""
    return f"weights_{number}.pt" if number else "weights.pt"


@dataclass(frozen=True, slots=True)
class Model:
    """A net that predicts rows of tables, or an ensemble whose predictions are averaged.

    Attributes:
        nets: in evaluation mode, on the CPU.
        run: the run config of the training.
        columns: how its inputs are made.
        call: how the net gets them.
        meaning: what its outputs mean.
        labels: labels per row; 0 if a row has one class or numbers.
        outputs: number of numbers, labels or classes to predict.
        mean: mean of the target, which is added to predictions.
        std: standard deviation of the target, by which predictions are multiplied.
        about: more information: study, trial, seed, scores.
    """

    nets: tuple[nn.Module, ...]
    run: RunConfig
    columns: Columns
    call: NetCall
    meaning: OutputMeaning
    labels: int
    outputs: int
    mean: np.ndarray
    std: np.ndarray
    about: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Read what `save_model` wrote.

        Raises:
            RunError: if there is no model, or it cannot be read.
        """
        try:
            meta = json.loads((folder / META).read_text(encoding="utf-8"))
            if meta["format"] != FORMAT:
                raise RunError(f"{folder}: model format {meta['format']}; this version reads {FORMAT}")
            files = [folder / weights_file(number) for number in range(int(meta.get("nets", 1)))]
            weights = [torch.load(file, map_location="cpu", weights_only=True) for file in files]
        except FileNotFoundError as error:
            raise RunError(f"{folder}: holds no model (no {Path(error.filename).name})") from None
        except (OSError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
            first_line = " ".join(str(error).strip().splitlines()[:1])
            raise RunError(f"{folder}: the model cannot be read: {first_line}") from None
        run = RunConfig.model_validate(meta["run"])
        columns = Columns(**meta["columns"])
        add_paths([*meta["import_paths"], CLONE])
        nets = []
        for state in weights:
            net = build_net(run, _data_of_sizes(meta, columns), torch.device("cpu"))
            net.load_state_dict(state)
            nets.append(net.eval())
        mean, std = np.array(meta["mean"]), np.array(meta["std"])
        call, meaning = NetCall.from_json(meta["call"]), OutputMeaning(**meta["meaning"])
        labels, outputs = int(meta["labels"]), int(meta["outputs"])
        return cls(tuple(nets), run, columns, call, meaning, labels, outputs, mean, std, meta["about"])

    @property
    def is_regression(self) -> bool:
        """Whether it predicts numbers."""
        return self.meaning.layout == "numbers"

    def predict(self, rows: Rows, file: str = "table") -> pd.DataFrame:
        """Predictions for the rows of a table, or of arrays, under the target's name.

        For regression, in the target's own units; for classes, the likeliest one, and the probability of
        each if the outputs give probabilities; for several labels, 1 or 0 for each, and its probability.

        Args:
            rows: a table; for a model of arrays also an array (rows, ...), or arrays by the names of the
                net's inputs.
            file: name of the rows in errors.

        Raises:
            RunError: if a column is missing or of another kind than in training, arrays have another
                shape, or there are no rows.
        """
        outputs = self.outputs_of(rows, file)
        return self.answers(outputs, rows.index if isinstance(rows, pd.DataFrame) else None)

    def answers(self, outputs: torch.Tensor, index: pd.Index | None = None) -> pd.DataFrame:
        """Predictions from the outputs that `outputs_of` returned."""
        index = pd.RangeIndex(len(outputs)) if index is None else index
        if self.is_regression:
            return self._numbers(outputs, index)
        if self.labels or outputs.ndim > 2:
            return self._labels(outputs, index)
        return self._classes(outputs, index)

    def outputs_of(self, rows: Rows, file: str = "table") -> torch.Tensor:
        """The net's outputs for some rows, float32, (rows, outputs, ...).

        Raises:
            RunError: as `predict`.
        """
        if isinstance(rows, pd.DataFrame):
            self.columns.check(rows, file)
            inputs = self.columns.inputs(rows, file)
        else:
            inputs = self._pack(rows, file)
        if not len(inputs):
            raise RunError(f"{file}: has no rows to predict")
        return self._outputs(inputs)

    def _pack(self, arrays: np.ndarray | Mapping[str, np.ndarray], file: str) -> np.ndarray:
        """Arrays as the net's rows, (rows, ...).

        Raises:
            RunError: if they are not those that the model takes.
        """
        if self.columns.named:
            raise RunError(f"{file}: the model takes a table with columns by name, a CSV or Parquet file")
        if self.call.fields and isinstance(arrays, Mapping):
            names = [each.name for each in self.call.fields]
            missing = [name for name in names if name not in arrays]
            if missing:
                raise RunError(f"{file}: no array {missing[0]!r}; the model takes {', '.join(names)}")
            inputs, fields = read_inputs({name: arrays[name] for name in names}, None, file)
            if [each.shape for each in fields] != [each.shape for each in self.call.fields]:
                expected = ", ".join(f"{each.name} {each.shape}" for each in self.call.fields)
                raise RunError(f"{file}: the model takes rows of {expected}; these have other shapes")
            return inputs
        if isinstance(arrays, Mapping):
            raise RunError(f"{file}: the model takes one array, and no arrays by name")
        inputs, _ = read_inputs(arrays, None, file)
        if inputs.shape[1:] != tuple(self.columns.shape):
            shape = tuple(self.columns.shape)
            raise RunError(f"{file}: rows have the shape {inputs.shape[1:]}, and the model takes {shape}")
        return inputs

    def example(self) -> Rows:
        """One row as an example of inputs.

        For a table, the medians and the first categories of its columns; for other arrays, zeros.
        """
        if self.call.fields:
            return {each.name: np.zeros((1, *each.shape), each.dtype) for each in self.call.fields}
        if self.columns.is_tensor:
            dtype = np.int64 if self.call.dtype == torch.int64 else np.float32
            return np.zeros((1, *self.columns.shape), dtype)
        if not self.columns.named:
            return pd.DataFrame({name: [0.0] for name in self.columns.names})
        numbers = {column["name"]: [_typical(column)] for column in self.columns.numbers}
        words = {column["name"]: column["categories"][:1] or [None] for column in self.columns.words}
        return pd.DataFrame(numbers | words)

    def _numbers(self, outputs: torch.Tensor, index: pd.Index) -> pd.DataFrame:
        """Numbers in the target's own units; outputs of another number (with a variance) unchanged."""
        values = self.meaning.answers(outputs).reshape(len(index), -1).numpy()
        target = self.columns.target
        if values.shape[1] != self.outputs:
            return pd.DataFrame(values, columns=_number_names("output", values.shape[1]), index=index)
        return pd.DataFrame(
            self.std * values + self.mean,
            columns=[target] if values.shape[1] == 1 else _number_names(target, values.shape[1]),
            index=index,
        )

    def _classes(self, outputs: torch.Tensor, index: pd.Index) -> pd.DataFrame:
        """One class per row, from one output per class, or a single one for two classes."""
        outputs = outputs.reshape(len(index), -1)
        names = np.array(self.columns.classes)
        answers = pd.DataFrame(
            {self.columns.target: names[self.meaning.answers(outputs).reshape(-1).numpy()]}, index=index
        )
        probabilities = self.meaning.probabilities(outputs)
        if probabilities is None:
            return answers
        if probabilities.shape[1] == 1:
            probabilities = torch.cat([1 - probabilities, probabilities], 1)
        for code, name in enumerate(names):
            answers[f"p_{name}"] = probabilities[:, code].numpy()
        return answers

    def _labels(self, outputs: torch.Tensor, index: pd.Index) -> pd.DataFrame:
        """Several labels or classes per row, one column for each."""
        codes = self.meaning.answers(outputs).reshape(len(index), -1).numpy()
        names = _number_names(self.columns.target, codes.shape[1])
        if not self.labels:
            return pd.DataFrame(np.array(self.columns.classes)[codes], columns=names, index=index)
        answers = pd.DataFrame(codes, columns=names, index=index)
        probabilities = self.meaning.probabilities(outputs)
        if probabilities is None:
            return answers
        columns = [f"p_{name}" for name in names]
        values = probabilities.reshape(codes.shape).numpy()
        return answers.join(pd.DataFrame(values, columns=columns, index=index))

    def _outputs(self, inputs: np.ndarray) -> torch.Tensor:
        """The outputs of the net, or the mean of the nets', float32, (rows, outputs, ...)."""
        answers, size = [], max(1, min(BATCH, BATCH_NUMBERS // max(1, inputs[:1].size)))
        dtype = self.call.dtype or (None if self.call.fields else torch.float32)
        with torch.no_grad(), autocast(self.run.precision, torch.device("cpu")):
            for start in range(0, len(inputs), size):
                rows = torch.tensor(inputs[start : start + size], dtype=dtype)
                each = [self.call.answer(net, rows).float() for net in self.nets]
                answers.append(self.meaning.mean(each) if len(each) > 1 else each[0])
        return torch.cat(answers) if answers else torch.zeros(0, max(1, len(self.columns.classes)))


def _typical(column: Mapping[str, Any]) -> Any:
    """A column's median; dates, and numbers written with separators, as text."""
    if not is_date(column["kind"]):
        return in_writing(column["median"], column["kind"])
    day = (pd.Timestamp(0) + pd.Timedelta(days=column["median"])).floor("s")
    return (
        day.isoformat() if column["kind"] == DATE else day.strftime(column["kind"].removeprefix(f"{DATE} "))
    )


def _number_names(name: str, count: int) -> list[str]:
    return [f"{name}{number}" for number in range(count)]


def _data_of_sizes(meta: Mapping[str, Any], columns: Columns) -> Data:
    """One row of zeros, with the sizes that the net was built for."""
    x = np.zeros((1, *columns.shape), dtype=np.float32)
    if meta["task"] == "classification" and not meta["labels"]:
        y = np.zeros(1, dtype=np.int64)
    else:
        y = np.zeros((1, meta["outputs"]), dtype=np.float32)
    part = DataPart(Split(x, y), Split(x, y))
    return Data((part,), meta["task"], meta["classes"], "", "", columns.classes, meta["labels"])


def _load_pyfunc(path: str) -> Model:
    """Load the registered folder; `mlflow.pyfunc.load_model` calls a function of this name."""
    return Model.load(Path(path))
