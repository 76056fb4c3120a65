"""`predict` for arrays and for tables with an identifier, and its scores if the target is in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from raysweep.tracking.model_registry import _pack
from tests.trainables.samples import run_of
from trainables.columns import Columns
from trainables.data import load
from trainables.model import Model, save_model
from trainables.predict_file import identifies_rows, predict_file
from trainables.run_config import RunConfig, RunError
from trainables.training import Training

HERE = "tests.trainables.test_predict_file."
RNG = np.random.default_rng(0)
SHAPE = (3, 96, 96)
CLASSES = np.arange(12) % 2
IDS, SIZES = RNG.integers(0, 9, (12, 4)), RNG.normal(size=(12, 2)).astype(np.float32)


class Pooled(nn.Module):
    """A small net of large images."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.out = nn.Linear(3, out_features)

    def forward(self, x: torch.Tensor) -> Any:
        return self.out(x.mean((2, 3)))


class Named(nn.Module):
    """Takes inputs by name."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(9, 2), nn.Linear(4, out_features)

    def forward(self, ids: torch.Tensor, size: torch.Tensor) -> Any:
        return self.out(torch.cat([self.table(ids).mean(1), size], 1))


def images() -> Any:
    return CLASSES[:, None, None, None] + np.zeros((12, *SHAPE), np.float32), CLASSES


def named() -> Any:
    return {"ids": IDS, "size": SIZES}, CLASSES


def saved(folder: Path, run: RunConfig, **about: Any) -> Path:
    data = load(run)
    training = Training(run, data)
    list(training)
    columns, call = Columns.of(run, data), training.learners[0].call
    save_model(folder / "model", run, data, [training.weights()], columns, call=call, about=about)
    return folder / "model"


def of_arrays(folder: Path, net: str, data: str, **about: Any) -> Path:
    fields = {"net": HERE + net, "net_config": {}, "criterion": "torch.nn.CrossEntropyLoss", "epochs": 1}
    optimizer: dict[str, Any] = {"optimizer": "torch.optim.SGD", "scheduler": None, "scheduler_config": {}}
    return saved(folder, run_of(data=HERE + data, data_config={}, **fields, **optimizer), **about)


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred")  # mlflow's own import
def test_images_are_registered_with_a_tensors_signature(tmp_path: Path) -> None:
    model = of_arrays(tmp_path, "Pooled", "images")
    assert (model / "model.json").stat().st_size < 10_000
    _pack(tmp_path / "packed", model)
    written = yaml.safe_load((tmp_path / "packed" / "MLmodel").read_text())
    (spec,) = json.loads(written["signature"]["inputs"])
    assert spec == {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, *SHAPE]}}


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "other.npz"])
def test_arrays_are_predicted_for(tmp_path: Path, name: str) -> None:
    model, x = of_arrays(tmp_path, "Pooled", "images"), images()[0]
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x, extra=x[:1])
    np.savez(tmp_path / "other.npz", pictures=x)
    answers, notes = predict_file(model, tmp_path / name)
    assert (list(answers.columns), len(answers), notes) == (["y", "p_0", "p_1"], 12, [])
    assert answers.equals(Model.load(model).predict(x))


def test_arrays_by_name_are_predicted_for_and_scored(tmp_path: Path) -> None:
    model = of_arrays(tmp_path, "Named", "named", metrics=["val_loss"])
    np.savez(tmp_path / "x.npz", size=SIZES, ids=IDS, labels=CLASSES)
    answers, (note,) = predict_file(model, tmp_path / "x.npz")
    likely = answers[["p_0", "p_1"]].to_numpy()[np.arange(12), CLASSES]
    right = float((answers["y"].astype(int) == CLASSES).mean())
    assert note == f"y is in the file: accuracy {right:.4f}, val_loss {-np.log(likely).mean():.4f} on 12 rows"


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"x": np.zeros((2, 3, 8, 8))}, "rows have the shape (3, 8, 8), and the model takes (3, 96, 96)"),
        ({"x": np.zeros((0, 3, 96, 96))}, "has no rows to predict"),
        ({"a": np.zeros(1), "b": np.zeros(1)}, "it holds a, b; call the inputs 'x', rows first"),
        ({"y": np.zeros(1)}, "it holds no inputs; call the inputs 'x', rows first"),
        (None, "no such file"),
        (b"no array", "cannot be read as arrays: "),
    ],
)
def test_arrays_that_do_not_fit_are_a_line(tmp_path: Path, arrays: Any, line: str) -> None:
    model, file = of_arrays(tmp_path, "Pooled", "images"), tmp_path / "some.npz"
    if isinstance(arrays, bytes):
        file.write_bytes(arrays)
    elif arrays:
        np.savez(file, **arrays)
    with pytest.raises(RunError) as caught:
        predict_file(model, file)
    assert str(caught.value).startswith(f"{file}: {line}")
    assert len(str(caught.value).splitlines()) == 1


def table(folder: Path, **fields: Any) -> RunConfig:
    value = RNG.normal(size=80)
    kind = np.where(value + RNG.normal(size=80) > 0, "yes", "no")
    frame = {"customer": [f"K{n}" for n in range(80)], "value": value, "note": "x", "kind": kind}
    pd.DataFrame(frame).to_csv(folder / "t.csv", index=False)
    config = {"path": str(folder / "t.csv"), "target": "kind", "drop": ["customer", "note"]}
    settings = {"criterion": "torch.nn.CrossEntropyLoss", "optimizer": "torch.optim.AdamW"}
    schedule: dict[str, Any] = {"scheduler": None, "scheduler_config": {}}
    return run_of(data="trainables.data.load_table", data_config=config, **settings, **schedule, **fields)


def test_a_column_that_names_the_rows_stands_before_the_predictions(tmp_path: Path) -> None:
    answers, notes = predict_file(saved(tmp_path, table(tmp_path)), tmp_path / "t.csv")
    assert list(answers.columns) == ["customer", "kind", "p_no", "p_yes"]
    assert (answers["customer"][3], notes[0]) == ("K3", f"{tmp_path / 't.csv'}: not used: note")


@pytest.mark.parametrize(
    ("values", "does"),
    [(["a", "b"], True), ([2, 1], True), (["a", "a"], False), (["a", None], False), ([0.5, 1.5], False)],
)
def test_a_column_identifies_rows_if_each_value_is_there_once(values: Any, does: bool) -> None:
    assert identifies_rows(pd.Series(values)) is does


def test_the_studys_own_metric_is_told_where_the_target_is(tmp_path: Path) -> None:
    run = table(tmp_path, metrics={"roc_auc": "roc_auc"}, criterion_config={"weight": "balanced"})
    model = saved(tmp_path, run, metrics=["roc_auc", "val_loss", "epoch_s"])
    answers, notes = predict_file(model, tmp_path / "t.csv")
    from sklearn.metrics import roc_auc_score

    auc = roc_auc_score(pd.read_csv(tmp_path / "t.csv")["kind"] == "yes", answers["p_yes"])
    assert notes[-1].startswith("kind is in the file: accuracy 0.")
    assert f", roc_auc {auc:.4f}, val_loss 0." in notes[-1]
    weights = json.loads((model / "model.json").read_text())["run"]["criterion_config"]["weight"]
    assert len(weights) == 2
