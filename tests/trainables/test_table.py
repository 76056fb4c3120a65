"""Tables: from named columns to numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.trainables.samples import run_of
from trainables.data import load, load_test
from trainables.run_config import RunError
from trainables.table import Table
from trainables.targets import infer_task

FRAME = pd.DataFrame(
    {
        "size": [1.0, 2.0, np.nan, 4.0, 500.0],
        "colour": ["red", "blue", None, "red", "green"],
        "new": [True, False, True, True, False],
        "price": [10.0, 20.0, 30.0, 40.0, 1000.0],
    }
)
TRAIN, REST = np.array([0, 1, 2, 3]), np.array([4])


def write(folder: Path, frame: Any = FRAME, name: str = "table.csv") -> None:
    frame = pd.concat([frame] * 10, ignore_index=True)
    (frame.to_parquet if name.endswith("parquet") else frame.to_csv)(folder / name, index=False)


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (["yes", "no", "yes"], "classification"),
        ([True, False, True], "classification"),
        ([0, 1, 2], "classification"),
        (range(100, 121), "regression"),  # more than 20 distinct whole numbers are a quantity
        (range(21), "classification"),  # unless they number classes
        ([0.0, 1.0, 2.0], "regression"),
    ],
)
def test_the_task_is_inferred_from_the_target(target: Any, task: str) -> None:
    assert infer_task(np.array(target)) == task


def test_numbers_are_standardised_by_the_training_rows_alone() -> None:
    """The outlier of 500 is no training row, and so changes neither mean nor deviation."""
    sizes = Table(FRAME, "price").features(TRAIN, TRAIN)[:, 0]
    assert sizes.mean() == pytest.approx(0, abs=1e-6)
    assert sizes.std() == pytest.approx(1, abs=1e-6)


def test_a_missing_number_is_the_median_and_says_so() -> None:
    table = Table(FRAME, "price").features(np.array([1, 2]), TRAIN)
    assert table[0, 0] == table[1, 0]  # 2.0 is the median of 1, 2 and 4
    assert table[:, 2].tolist() == [0, 1]  # columns: size, new, size is missing, then colours


def test_categories_are_one_column_each_and_one_for_missing() -> None:
    colours = Table(FRAME, "price").features(np.arange(5), TRAIN)[:, 3:]
    assert colours.argmax(1).tolist() == [2, 0, 3, 2, 1]  # blue, green, red, missing
    assert colours.sum(1).tolist() == [1] * 5


def test_a_regression_target_is_standardised_and_can_be_told_not_to_be() -> None:
    assert Table(FRAME, "price").targets(TRAIN, TRAIN).std() == pytest.approx(1)
    assert Table(FRAME, "price", standardise_target=False).targets(REST, TRAIN) == 1000


def test_classes_are_coded_in_sorted_order() -> None:
    frame = FRAME.assign(price=["b", "a", "b", "c", "a"])
    table = Table(frame, "price")
    assert (table.classes, table.targets(np.arange(5), TRAIN).tolist()) == (("a", "b", "c"), [1, 0, 1, 2, 0])


def test_rows_without_a_target_are_left_out() -> None:
    assert len(Table(FRAME.assign(price=[1.0, None, 3.0, 4.0, 5.0]), "price")) == 4


def test_a_constant_column_becomes_zero_not_nan() -> None:
    table = Table(FRAME.assign(size=3.0), "price")
    assert table.features(np.arange(5), TRAIN)[:, 0].tolist() == [0] * 5


def test_an_infinite_number_counts_as_missing() -> None:
    table = Table(FRAME.assign(size=[1.0, 2.0, np.inf, 4.0, 5.0]), "price")
    assert np.isfinite(table.features(np.arange(5), TRAIN)).all()


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (FRAME.drop(columns="price"), "no column 'price'; there are size, colour, new"),
        (
            pd.DataFrame({"name": [f"n{i}" for i in range(101)], "price": 1.0}),
            "more than 100 distinct words are no categories: column 'name' has 101, as 'n53'; "
            "if it is an identifier, set data_config.drop: [name]",
        ),
        (
            pd.DataFrame(
                {name: [f"{name}{i}" for i in range(101)] for name in "ab"}
                | {"c": [f"{i},5" for i in range(101)], "price": 1.0}
            ),
            "more than 100 distinct words are no categories: column 'a' has 101, as 'a53', "
            "column 'b' has 101, as 'b53'; "
            "if it is an identifier, set data_config.drop: [a, b]",
        ),
    ],
)
def test_a_column_nothing_can_be_made_of_is_named(frame: Any, sentence: str) -> None:
    with pytest.raises(RunError, match=re.escape(sentence)):
        Table(frame, "price")


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "table.parquet"])
def test_every_kind_of_file_gives_the_same_data(tmp_path: Path, name: str) -> None:
    write(tmp_path, name="table.csv")
    write(tmp_path, name=name)
    config = {"target": "price"}
    runs = [
        run_of(data="trainables.data.load_table", data_config=config | {"path": file})
        for file in ("table.csv", name)
    ]
    first, second = (load(run, [tmp_path]).fingerprint for run in runs)
    assert first == second


def test_a_relative_path_is_looked_for_beside_the_sweep_file_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("sweep", "cwd"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "sweep")
    write(tmp_path / "cwd", FRAME.drop(columns="new"))
    monkeypatch.chdir(tmp_path / "cwd")
    run = run_of(data="trainables.data.load_table", data_config={"path": "table.csv", "target": "price"})
    assert load(run, [tmp_path / "sweep"]).in_features == load(run).in_features + 1


def test_a_file_that_is_nowhere_is_an_error_that_says_where_was_looked(tmp_path: Path) -> None:
    run = run_of(data="trainables.data.load_table", data_config={"path": "no.csv", "target": "y"})
    with pytest.raises(RunError, match=f"no file 'no.csv' in {tmp_path}"):
        load(run, [tmp_path])


def test_a_dropped_column_is_no_input(tmp_path: Path) -> None:
    write(tmp_path)
    config = {"path": "table.csv", "target": "price", "drop": ["new"]}
    assert load(run_of(data="trainables.data.load_table", data_config=config), [tmp_path]).in_features == 6


def test_the_test_rows_are_in_the_scale_of_the_training_rows(tmp_path: Path) -> None:
    """The test target, converted back into its own units, is a price again."""
    write(tmp_path)
    run = run_of(data="trainables.data.load_table", data_config={"path": "table.csv", "target": "price"})
    part, test = load(run, [tmp_path]).parts[0], load_test(run, [tmp_path])
    assert test is not None
    assert set((test.y * part.std + part.mean).round(2).ravel()) <= {10, 20, 30, 40, 1000}
