"""A model in a folder: it predicts raw tables as in training, and reports what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainables.columns import Columns
from trainables.criteria import CRITERIA
from trainables.data import load, load_test
from trainables.evaluate import Nets, load_nets
from trainables.model import Model, save_model
from trainables.predict_file import predict_file
from trainables.run_config import RunConfig, RunError, read
from trainables.training import Training

ROWS = 120


def raw(rows: int = ROWS) -> pd.DataFrame:
    """A table with a gap, a category, a boolean and a target that depends on them."""
    rng = np.random.default_rng(0)
    size, colour = rng.normal(50, 9, rows), rng.choice(["red", "green"], rows)
    frame = pd.DataFrame({"size": size, "colour": colour, "old": rng.random(rows) < 0.5})
    frame["price"] = 3 * size + 40 * (colour == "red") + rng.normal(0, 1, rows)
    frame.loc[3, "size"] = np.nan
    return frame


def run_of(
    folder: Path, target: str = "price", criterion: str = "torch.nn.MSELoss", **fields: object
) -> RunConfig:
    raw().assign(dear=lambda f: np.where(f.price > 170, "yes", "no")).to_csv(folder / "t.csv", index=False)
    drop = [name for name in ("price", "dear") if name != target]
    config = {"path": str(folder / "t.csv"), "target": target, "drop": drop}
    return read(
        {
            "data": "trainables.data.load_table",
            "data_config": config,
            "net_config": {"nodes": 8, "layers": 1},
            "optimizer": "torch.optim.AdamW",
            "optimizer_config": {"lr": 1e-2},
            "scheduler": None,
            "criterion": criterion,
            "epochs": 3,
            "batch_size": 16,
            **fields,
        }
    )


def trained(folder: Path, run: RunConfig) -> tuple[Any, ...]:
    data = load(run)
    training = Training(run, data)
    for _ in training:
        pass
    call = training.learners[0].call
    save_model(folder / "model", run, data, [training.weights()], Columns.of(run, data), call=call, about={})
    return folder / "model", training


def test_a_raw_table_is_scored_as_in_training(tmp_path: Path) -> None:
    """Same rows, same scaling, same gaps and categories: the same loss, in the target's own units."""
    run = run_of(tmp_path)
    folder, training = trained(tmp_path, run)
    test = load_test(run)
    assert test is not None
    part = training.data.parts[0]
    order = np.random.default_rng(0).permutation(ROWS)[: len(test.x)]  # as data.split draws them
    answers = Model.load(folder).predict(raw().iloc[order])
    residual = (answers["price"].to_numpy() - raw()["price"].to_numpy()[order]) / part.std[0]
    assert float((residual**2).mean()) == pytest.approx(training.evaluate(test)["loss"], rel=1e-4)


@pytest.mark.parametrize("criterion", ["torch.nn.CrossEntropyLoss", "torch.nn.BCEWithLogitsLoss"])
def test_classes_come_by_name_and_with_probabilities(tmp_path: Path, criterion: str) -> None:
    folder, _ = trained(tmp_path, run_of(tmp_path, "dear", criterion))
    answers, notes = predict_file(folder, tmp_path / "t.csv")
    assert set(answers["dear"]) <= {"yes", "no"}
    assert np.allclose(answers["p_yes"] + answers["p_no"], 1.0)
    assert notes[-1].startswith("dear is in the file: accuracy")
    likelier = np.where(answers["p_yes"] > answers["p_no"], "yes", "no")
    assert (answers["dear"] == likelier).all()


def test_data_that_came_as_arrays_are_columns_by_number(tmp_path: Path) -> None:
    digits = {"data": "trainables.data.load_digits", "data_config": {}, "epochs": 1}
    run = run_of(tmp_path, criterion="torch.nn.CrossEntropyLoss", **digits)  # type: ignore[arg-type]
    folder, _ = trained(tmp_path, run)
    frame = pd.DataFrame(np.zeros((2, 64)), columns=[f"x{i}" for i in range(64)])
    answers = Model.load(folder).predict(frame)
    assert list(answers.columns) == ["y", *(f"p_{digit}" for digit in range(10))]


OUTPUTS, RETURNED = "tests.trainables.test_outputs.", "tests.trainables.test_returned."


@pytest.mark.parametrize(
    ("criterion", "end"), [("BCELoss", "sigmoid"), ("SoftMarginLoss", "identity"), ("NLLLoss", "log_softmax")]
)
def test_predictions_are_what_accuracy_counted(tmp_path: Path, criterion: str, end: str) -> None:
    """Every sigmoid is above 0, and would be a yes."""
    fields = {"net": OUTPUTS + "Ending", "net_config": {"end": end}, "epochs": 40}
    folder, training = trained(tmp_path, run_of(tmp_path, "dear", f"torch.nn.{criterion}", **fields))
    answers, notes = predict_file(folder, tmp_path / "t.csv")
    met = float(notes[-1].split("accuracy ")[1].split()[0])
    assert met > 0.9
    assert training.evaluate(training.data.parts[0].val)["accuracy"] > 0.8  # of 24 rows
    assert np.allclose(answers["p_yes"] + answers["p_no"], 1.0)
    assert (answers["dear"] == np.where(answers["p_yes"] > 0.5, "yes", "no")).all()


@pytest.mark.parametrize(
    ("data", "net", "criterion", "inputs", "columns"),
    [
        (
            OUTPUTS + "several_labels",
            "trainables.mlp.MLP",
            "BCEWithLogitsLoss",
            4,
            ["y0", "y1", "y2", "p_y0", "p_y1", "p_y2"],
        ),
        (RETURNED + "return_tokens", RETURNED + "Embedding", "CrossEntropyLoss", 6, ["y", "p_0", "p_1"]),
        (RETURNED + "return_dictionary", RETURNED + "ByName", "CrossEntropyLoss", 10, ["y", "p_0", "p_1"]),
        (RETURNED + "return_words", "trainables.mlp.MLP", "CrossEntropyLoss", 4, ["y", "p_no", "p_yes"]),
        (RETURNED + "return_words", "trainables.mlp.MLP", "MultiMarginLoss", 4, ["y"]),
        ("trainables.data.load_diabetes", OUTPUTS + "Ending", "L1Loss", 10, ["y"]),
    ],
)
def test_a_model_answers_as_its_data_were(
    tmp_path: Path, data: str, net: str, criterion: str, inputs: int, columns: list[str]
) -> None:
    fields = {"data": data, "net": net, "net_config": {}, "data_config": {}}
    folder, _ = trained(tmp_path, run_of(tmp_path, criterion=f"torch.nn.{criterion}", **fields))  # type: ignore[arg-type]
    frame = pd.DataFrame(np.ones((3, inputs)), columns=[f"x{i}" for i in range(inputs)])
    answers = Model.load(folder).predict(frame)
    assert (list(answers.columns), len(answers)) == (columns, 3)
    assert answers.notna().all().all()


def test_an_example_row_can_be_predicted(tmp_path: Path) -> None:
    """MLflow keeps one beside the model: a date is written as a date."""
    run = run_of(tmp_path)
    raw().assign(day="2024-05-01", dear="no").to_csv(tmp_path / "t.csv", index=False)
    model = Model.load(trained(tmp_path, run)[0])
    example = model.example()
    assert isinstance(example, pd.DataFrame)
    assert example["day"].tolist() == ["2024-05-01T00:00:00"]
    assert len(model.predict(example)) == 1


def test_a_model_of_an_older_version_is_a_line(tmp_path: Path) -> None:
    folder, _ = trained(tmp_path, run_of(tmp_path))
    meta = (folder / "model.json").read_text()
    (folder / "model.json").write_text(meta.replace('"format": 2', '"format": 1'))
    with pytest.raises(RunError, match=r"model format 1; this version reads 2$"):
        Model.load(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return trained(folder, run_of(folder))[0]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda f: f.drop(columns="size"),
            "no column 'size'; the model was trained with 'size', 'old', 'colour'",
        ),
        (
            lambda f: f.rename(columns={"size": "Size"}),
            "no column 'size'; it has 'Size' instead; the model was",
        ),
        (
            lambda f: f.astype({"size": "string"}).assign(size="big"),
            "column 'size' is numeric, row 1 has 'big'",
        ),
        (lambda f: f.head(0), "has no rows to predict"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(
    model: Path, tmp_path: Path, change: Callable[..., Any], line: str
) -> None:
    change(raw()).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(RunError) as caught:
        predict_file(model, tmp_path / "new.csv")
    assert str(caught.value).startswith(f"{tmp_path}/new.csv: {line}")
    assert len(str(caught.value).splitlines()) == 1


def test_columns_that_are_not_used_are_named_and_their_order_is_free(model: Path, tmp_path: Path) -> None:
    frame = raw().drop(columns="price").assign(note="x")
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame[frame.columns[::-1]].to_csv(tmp_path / "b.csv", index=False)
    answers, notes = predict_file(model, tmp_path / "a.csv")
    assert notes == [f"{tmp_path}/a.csv: not used: note"]
    assert answers.equals(predict_file(model, tmp_path / "b.csv")[0])


@pytest.mark.parametrize(
    ("target", "criterion", "shown"),
    [("price", "torch.nn.MSELoss", "price"), ("dear", "torch.nn.CrossEntropyLoss", "p_yes")],
)
def test_an_ensemble_answers_with_the_mean_of_its_nets_predictions(
    tmp_path: Path, target: str, criterion: str, shown: str
) -> None:
    """For classes, the mean of their probabilities, not of their logits."""
    run = run_of(tmp_path, target=target, criterion=criterion)
    data, trainings = load(run), [Training(run, load(run), seed=seed) for seed in (1, 2, 3)]
    call = trainings[0].learners[0].call
    weights = [training.weights() for training in trainings]
    save_model(tmp_path / "all", run, data, weights, Columns.of(run, data), call=call, about={})
    model = Model.load(tmp_path / "all")
    singles = [replace(model, nets=(net,)).predict(raw())[shown] for net in model.nets]
    assert not np.allclose(singles[0], singles[1])
    np.testing.assert_allclose(model.predict(raw())[shown], np.mean(singles, axis=0), rtol=1e-5)


def test_a_category_never_seen_is_none_of_those_known(model: Path) -> None:
    loaded = Model.load(model)
    inputs = loaded.columns.inputs(raw().assign(colour="blue"), "t")
    assert inputs[:, -2:].sum() == 0


@pytest.mark.parametrize(
    ("name", "line"), [("nothing", "holds no model (no model.json)"), ("broken", "the model cannot be read")]
)
def test_what_is_no_model_is_one_line(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model.json").write_text("{")
    with pytest.raises(RunError, match=line.replace("(", r"\(").replace(")", r"\)")):
        Model.load(tmp_path / name)


def nets(tmp_path: Path, run: RunConfig, seeds: tuple[Any, ...]) -> Nets:
    data, places = load(run), {}
    for seed in seeds:
        training = Training(run, data, seed=seed)
        for _ in training:
            pass
        places[seed] = tmp_path / str(seed)
        training.save(places[seed])
    return load_nets(run, data, places)


def test_checkpoints_are_worth_what_was_reported(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    data = load(run)
    reported = list(Training(run, data, seed=5))[-1].val_loss
    evaluation = nets(tmp_path, run, (5,)).evaluate(data.parts[0].val)
    assert evaluation.members[5]["loss"] == pytest.approx(reported, rel=1e-5)
    assert evaluation.ensemble == pytest.approx(evaluation.members[5])


@pytest.mark.parametrize("criterion", ["torch.nn.CrossEntropyLoss", "torch.nn.MSELoss"])
def test_an_ensemble_is_no_worse_than_its_members_on_average(tmp_path: Path, criterion: str) -> None:
    """Jensen: both losses are convex in the prediction that is averaged."""
    run = run_of(tmp_path, "price" if "MSE" in criterion else "dear", criterion)
    evaluation = nets(tmp_path, run, (1, 2, 3)).evaluate(load(run).parts[0].val)
    mean = np.mean([scores["loss"] for scores in evaluation.members.values()])
    assert evaluation.ensemble["loss"] <= mean + 1e-6


def test_probabilities_are_averaged_not_logits() -> None:
    import torch

    one, two = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    expected = (one.softmax(1) + two.softmax(1)) / 2
    assert torch.allclose(CRITERIA["CrossEntropyLoss"].mean([one, two]).softmax(1), expected)


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    training = Training(run, load(run))
    next(training)
    training.save(tmp_path / "c")
    (tmp_path / "c/training.pt").write_bytes(b"no")
    with pytest.raises(RunError, match="retrain"):
        load_nets(run, load(run), {1: tmp_path / "c"})
