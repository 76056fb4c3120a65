"""A trained model in a folder: weights, run config, and how its inputs are made of a raw table.

model.json   format, run config, columns, target scale, seed
weights.pt   the net's state dict, read with `weights_only`
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from trainables.build import BINARY_LOSSES, build_criterion, build_net
from trainables.columns import Columns
from trainables.data import Data, Part, Split
from trainables.imports import CLONE, add_paths
from trainables.run import RunConfig, RunError, settings_at

FORMAT = 1
META, WEIGHTS = "model.json", "weights.pt"
BATCH = 4096  # rows predicted at once


def save_model(
    folder: Path,
    run: RunConfig,
    data: Data,
    weights: Mapping[str, torch.Tensor],
    columns: Columns,
    *,
    import_paths: Sequence[str] = (),
    about: Mapping[str, Any],
) -> None:
    """Write a model that `Model.load` reads.

    Args:
        folder: made if missing.
        run: that it was trained under; of a schedule, its last settings count.
        data: for task, sizes and the target's scale.
        weights: of the net.
        columns: how its inputs are made.
        import_paths: where the net's own module is found, if it is the user's.
        about: what else a reader should know: study, trial, seed, scores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = data.parts[0]
    meta = {
        "format": FORMAT,
        "run": settings_at(run, run.epochs).model_dump(mode="json"),
        "columns": columns.as_json(),
        "task": data.task,
        "classes": data.classes,
        "outputs": data.out_features,
        "mean": part.mean.tolist(),
        "std": part.std.tolist(),
        "import_paths": list(import_paths),
        "about": dict(about),
    }
    torch.save(dict(weights), folder / WEIGHTS)
    (folder / META).write_text(json.dumps(meta, indent=1, default=str), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Model:
    """A net that answers for tables.

    Attributes:
        net: in evaluation mode, on the CPU.
        run: that it was trained under.
        columns: how its inputs are made.
        task: "regression" or "classification".
        mean: of the target, added back.
        std: of the target, multiplied back.
        about: what its maker wrote of it.
    """

    net: nn.Module
    run: RunConfig
    columns: Columns
    task: str
    mean: np.ndarray
    std: np.ndarray
    about: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Read what `save_model` wrote.

        Raises:
            RunError: if there is no model, or one that cannot be read.
        """
        try:
            meta = json.loads((folder / META).read_text(encoding="utf-8"))
            if meta["format"] != FORMAT:
                raise RunError(f"{folder}: model format {meta['format']}; this version reads {FORMAT}")
            weights = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise RunError(f"{folder}: holds no model (no {Path(error.filename).name})") from None
        except (OSError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
            first = str(error).strip().splitlines()[:1]
            raise RunError(f"{folder}: the model cannot be read: {' '.join(first)}") from None
        run = RunConfig.model_validate(meta["run"])
        columns = Columns(**meta["columns"])
        add_paths([*meta["import_paths"], CLONE])
        net = build_net(run, _like(meta, columns), torch.device("cpu"))
        net.load_state_dict(weights)
        mean, std = np.array(meta["mean"]), np.array(meta["std"])
        return cls(net.eval(), run, columns, meta["task"], mean, std, meta["about"])

    def predict(self, frame: pd.DataFrame, file: str = "table") -> pd.DataFrame:
        """Predictions for the rows of a table, under the target's name.

        A regression's are in the target's own units; of classes, the likeliest one, and the
        probability of each where the criterion makes outputs probabilities.

        Raises:
            RunError: if a column is missing or holds something else than in training.
        """
        self.columns.check(frame, file)
        outputs = self._outputs(self.columns.inputs(frame, file))
        target = self.columns.target
        if self.task == "regression":
            values = self.std * outputs.reshape(len(frame), -1) + self.mean
            names = [target] if values.shape[1] == 1 else [f"{target}{i}" for i in range(values.shape[1])]
            return pd.DataFrame(values, columns=names, index=frame.index)
        return self._classes(torch.tensor(outputs), frame.index)

    def example(self) -> pd.DataFrame:
        """A row as one would send it: the medians, and the first of each column's categories."""
        numbers = {column["name"]: [column["median"]] for column in self.columns.numbers}
        words = {column["name"]: column["categories"][:1] or [None] for column in self.columns.words}
        return pd.DataFrame(numbers | words)

    def _classes(self, outputs: torch.Tensor, index: pd.Index) -> pd.DataFrame:
        criterion = build_criterion(self.run)
        names = np.array(self.columns.classes or ("0", "1"))
        if isinstance(criterion, BINARY_LOSSES):
            high = outputs if isinstance(criterion, nn.BCELoss) else outputs.sigmoid()
            probabilities = torch.cat([1 - high, high], 1)
            codes = (outputs[:, 0] > 0).long()  # as `accuracy` counts
        else:
            probabilities, codes = outputs.softmax(1), outputs.argmax(1)
        answers = pd.DataFrame({self.columns.target: names[codes.numpy()]}, index=index)
        if isinstance(criterion, (nn.CrossEntropyLoss, nn.NLLLoss, nn.BCEWithLogitsLoss, nn.BCELoss)):
            for code, name in enumerate(names):
                answers[f"p_{name}"] = probabilities[:, code].numpy()
        return answers

    def _outputs(self, inputs: np.ndarray) -> np.ndarray:
        """What the net says, float32, (rows, outputs)."""
        answers = []
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.run.precision == "bf16"):
            for start in range(0, len(inputs), BATCH):
                batch = self.net(torch.tensor(inputs[start : start + BATCH])).float()
                answers.append(batch.reshape(len(batch), -1).numpy())
        return np.concatenate(answers) if answers else np.zeros((0, 1), dtype=np.float32)


def _like(meta: Mapping[str, Any], columns: Columns) -> Data:
    """Data of the sizes that the net was built for, one row of zeros."""
    x = np.zeros((1, *columns.shape), dtype=np.float32)
    if meta["task"] == "classification":
        y = np.zeros(1, dtype=np.int64)
    else:
        y = np.zeros((1, meta["outputs"]), dtype=np.float32)
    part = Part(Split(x, y), Split(x, y))
    return Data((part,), meta["task"], meta["classes"], "", "")


def predict_file(folder: Path, file: Path) -> tuple[pd.DataFrame, list[str]]:
    """Predictions for a file's rows, and what its user should know: a sentence each.

    Where the file has the target's column, how well it was met is one of them.

    Raises:
        RunError: if there is no such model or file, or the columns do not fit.
    """
    model = Model.load(folder)
    frame = model.columns.read(file, sep=str(model.run.data_config.get("sep", ",")))
    unused = model.columns.check(frame, str(file))
    notes = [f"{file}: not used: {', '.join(unused)}"] if unused else []
    answers = model.predict(frame, str(file))
    target = model.columns.target
    if target in frame.columns and target in answers.columns:
        known = frame[target].notna().to_numpy()
        truth, said = frame[target][known], answers[target][known]
        if model.task == "classification":
            met = float((truth.astype("string").to_numpy() == said.to_numpy()).mean())
            notes.append(f"{target} is in the file: accuracy {met:.4f} on {int(known.sum())} rows")
        else:
            wrong = float(((truth - said) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
            notes.append(f"{target} is in the file: r2 {1 - wrong:.4f} on {int(known.sum())} rows")
    return answers, notes


def _load_pyfunc(path: str) -> Model:
    """What `mlflow.pyfunc.load_model` calls, by this name, on the folder that was registered."""
    return Model.load(Path(path))
