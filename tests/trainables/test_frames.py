"""Reading tables: a column's kind is determined by its values, in training and in prediction."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.trainables.test_model import trained
from trainables.cell_formats import in_writing
from trainables.data import load
from trainables.frames import as_days, as_numbers, kind_of, read_frame, values_of
from trainables.model import Model
from trainables.predict_file import predict_file
from trainables.run_config import RunConfig, RunError, read
from trainables.table import Table, load_table

ONE = "it was read as one column: set data_config.sep"
ENCODED = "say how it is encoded, mostly data_config.encoding: latin-1"
MANY = "more than 100 distinct words are no categories:"
DATE = "say whether 1/2/2024 is in February, data_config.dayfirst: true; else drop it"
SLASHES = "".join(f"{n % 12 + 1}/{n // 12 + 1}/2024,1\n" for n in range(120))
LATIN = {"encoding": "latin-1", "sep": ";", "decimal": ",", "thousands": "."}
DATES = ["2024-01-01", "2024-01-02T12:00:00"]


def run_of(folder: Path, frame: pd.DataFrame, name: str = "t.csv", **config: object) -> RunConfig:
    """A run on a table written to `folder`."""
    (frame.to_parquet if name.endswith("parquet") else frame.to_csv)(folder / name, index=False)
    criterion = str(config.pop("criterion", "torch.nn.CrossEntropyLoss"))
    return read(
        {
            "data": "trainables.data.load_table",
            "data_config": {"path": str(folder / name), "target": "y", **config},
            "net_config": {"nodes": 16, "layers": 1},
            "optimizer": "torch.optim.AdamW",
            "optimizer_config": {"lr": 0.05},
            "scheduler": None,
            "criterion": criterion,
            "epochs": 10,
            "batch_size": 16,
        }
    )


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5, None], "numbers"),
        ([True, False], "numbers"),
        ([True, None, False], "numbers"),  # booleans with gaps, from SQL and Parquet
        (["TRUE", None, "FALSE"], "numbers"),  # from R
        (["true", "False"], "numbers"),
        ([Decimal("1.50"), Decimal("2.25"), None], "numbers"),
        ([1, None, 2.5, np.int64(3)], "numbers"),
        (["1.5", "2"], "numbers"),
        ([None, None], "numbers"),
        (["1", "x"], "words"),
        (["yes", "no"], "words"),
        (["T", "F"], "words"),
        (DATES, "date"),
        ([datetime.date(2024, 1, 1), None], "date"),
        (pd.to_datetime(["2024-01-01", "2024-02-01"]), "date"),
        (["2024-01-01", "soon"], "words"),
        (["01/02/2024"], "words"),  # January or February
        (["01/02/2024", "31/01/2024"], "date %d/%m/%Y"),
        (["1/31/2024 9:05", "2/1/2024 10:15"], "date %m/%d/%Y %H:%M"),
        (["31.1.2024", "1.2.2024", "-"], "date %d.%m.%Y"),
        (["2024/01/31", None], "date %Y/%m/%d"),
        (["31 Jan 2024"], "date %d %b %Y"),
        (["1,234.50", "12"], "numbers 1,234.5"),
        (["€ 1,234.50", "12 €", "n.a."], "numbers 1,234.5"),
        (["1.234,50 €", "0,5"], "numbers 1.234,5"),
        (["1 234,50", "0,123"], "numbers 1.234,5"),
        (["1'234.50"], "numbers 1,234.5"),
        (["12 %", "7%"], "numbers 1,234.5"),
        (["1,5", "1.5"], "words"),  # one of them is not what it seems
        (["030 1234567"], "words"),
        (["-", "?"], "words"),
    ],
)
def test_the_values_say_what_a_column_is(values: Any, kind: str) -> None:
    column = pd.Series(values, dtype=object) if isinstance(values, list) else pd.Series(values)
    assert kind_of(column) == kind


@pytest.mark.parametrize(("dayfirst", "days"), [(True, 31), (False, 1)])
def test_whether_the_day_is_first_can_be_said(dayfirst: bool, days: int) -> None:
    column = pd.Series(["1/2/1970"])
    assert values_of(column, kind_of(column, dayfirst)).tolist() == [days]


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1,234.50", "€7", "-", None], [1234.5, 7, np.nan, np.nan]),
        (["1.234.567,8 EUR", "-0,25"], [1234567.8, -0.25]),
        (["1'000.5", "1 000"], [1000.5, 1000]),
    ],
)
def test_numbers_are_what_they_say(texts: Any, numbers: Any) -> None:
    column = pd.Series(texts, dtype=object)
    assert np.array_equal(values_of(column, kind_of(column)), numbers, equal_nan=True)


@pytest.mark.parametrize("kind", ["numbers 1,234.5", "numbers 1.234,5"])
def test_a_number_is_written_as_it_is_read(kind: str) -> None:
    assert values_of(pd.Series([in_writing(1234567.25, kind)]), kind).tolist() == [1234567.25]


def test_truth_with_gaps_is_one_zero_and_missing() -> None:
    numbers = as_numbers(pd.Series(["TRUE", None, "false", True], dtype=object))
    assert np.array_equal(numbers, [1, np.nan, 0, 1], equal_nan=True)


@pytest.mark.parametrize("zone", ["", "Z", "+00:00"])
def test_dates_are_days_however_they_come(zone: str) -> None:
    text = pd.Series(["1970-01-02", f"1970-01-03T12:00:00{zone}", None])
    assert np.array_equal(as_days(text), [1, 2.5, np.nan], equal_nan=True)
    assert np.array_equal(
        as_days(pd.to_datetime(text, format="ISO8601", utc=True)), as_days(text), equal_nan=True
    )


def messy(rows: int = 200) -> pd.DataFrame:
    """A target that depends only on a boolean with gaps, with columns of a price, a date and a word."""
    rng = np.random.default_rng(0)
    truth = rng.random(rows) < 0.5
    flag = np.array(["TRUE" if each else "FALSE" for each in truth], dtype=object)
    flag[rng.random(rows) < 0.05] = None
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, rows), "D")
    price = [Decimal(f"{each:.2f}") for each in rng.uniform(1, 9, rows)]
    plan = rng.choice(["basic", "plus"], rows)
    y = np.where(truth, "yes", "no")
    return pd.DataFrame({"flag": flag, "price": price, "day": day, "plan": plan, "y": y})


def test_prediction_reads_a_file_as_training_did(tmp_path: Path) -> None:
    """`predict` has the validation score of the training on the same file."""
    run = run_of(tmp_path, messy())
    folder, training = trained(tmp_path, run)
    scored = training.evaluate(training.data.parts[0].val)["accuracy"]
    _, notes = predict_file(folder, tmp_path / "t.csv")
    met = float(notes[-1].split("accuracy ")[1].split()[0])
    assert scored > 0.9
    assert met > 0.9
    assert len(notes) == 1


def test_inputs_are_the_same_from_csv_and_parquet(tmp_path: Path) -> None:
    frame = messy().assign(flag=lambda each: each.flag.map({"TRUE": True, "FALSE": False}))
    csv, parquet = (load(run_of(tmp_path, frame, name)) for name in ("t.csv", "t.parquet"))
    assert csv.fingerprint == parquet.fingerprint


def test_values_never_seen_in_training_are_counted_and_said(tmp_path: Path) -> None:
    folder, _ = trained(tmp_path, run_of(tmp_path, messy()))
    frame = messy().drop(columns="y")
    frame.loc[:2, "plan"] = ["gold", "old", "gold"]
    frame.loc[3, "plan"] = None
    frame.to_csv(tmp_path / "new.csv", index=False)
    _, notes = predict_file(folder, tmp_path / "new.csv")
    prefix = f"{tmp_path}/new.csv: column 'plan'"
    assert notes == [
        f"{prefix}: 3 of 200 rows have a value never seen in training ('gold', 'old')",
        f"{prefix}: 1 of 200 rows have no value, and in training every row had one",
    ]


def test_a_date_where_none_was_is_a_line(tmp_path: Path) -> None:
    folder, _ = trained(tmp_path, run_of(tmp_path, messy()))
    with pytest.raises(RunError, match=r"t: column 'day' is a date, row 1 has 'soon'"):
        Model.load(folder).predict(messy().assign(day="soon"), "t")


@pytest.mark.parametrize(
    ("target", "criterion", "task", "classes"),
    [
        ([0, 1, None, 1, 0], "CrossEntropyLoss", "classification", ("0", "1")),
        ([0, 1, None, 1, 0], "BCEWithLogitsLoss", "classification", ("0", "1")),
        ([True, None, False], "CrossEntropyLoss", "classification", ("False", "True")),
        ([100, 250, None], "MSELoss", "regression", ()),
        ([Decimal("1.5"), Decimal("9.25"), None], "MSELoss", "regression", ()),
        (["a", "b", None], "CrossEntropyLoss", "classification", ("a", "b")),
    ],
)
def test_a_target_with_gaps_is_what_it_is_without_them(
    target: Any, criterion: str, task: str, classes: Any
) -> None:
    from trainables.criteria import of_criterion

    frame = pd.DataFrame({"x": np.arange(len(target)), "y": pd.Series(target)})
    table = Table(frame, "y").for_criterion(of_criterion(f"torch.nn.{criterion}", {}))
    assert (table.task, table.classes) == (task, classes)
    without = Table(frame[frame.y.notna()].infer_objects(), "y").for_criterion(
        of_criterion(f"torch.nn.{criterion}", {})
    )
    assert table.all_targets.values.tolist() == without.all_targets.values.tolist()


@pytest.mark.parametrize(
    ("text", "config", "line"),
    [
        ("a;b;y\n1;2;3\n", {}, f"target: no column 'y'; there are a;b;y; {ONE}: ';'"),
        ("a\ty\n1\t2\n", {}, f"target: no column 'y'; there are a\ty; {ONE}: '\\t'"),
        (
            "a,y,y\n1,2,2\n",
            {},
            "{file}: its header names 'y' twice; rename one of the columns, or take it out",
        ),
        ("a,b,y\n1,2,3\n", {"drop": "c"}, "data_config.drop: no column 'c' in t.csv; there are a, b, y"),
        ("\xe9t\xe9,y\n1,2\n", {}, "{file}: it is not UTF-8 (byte 0xe9); " + ENCODED),
        ("a,y\n1,2\n", {"encoding": "latin-99"}, "data_config.encoding: unknown encoding: latin-99"),
        ("", {}, "{file}: cannot be read as a table: No columns to parse from file"),
        (f"a,y\n{SLASHES}", {}, f"{MANY} column 'a' has 120, as '4/1/2024'; for dates {DATE}"),
        ("a,y\n1,2024-01-01\n", {}, "target: column 'y' is a date; make a number of it"),
    ],
)
def test_a_file_that_cannot_be_read_so_is_a_line_with_the_word_that_helps(
    tmp_path: Path, text: str, config: Any, line: str
) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError) as caught:
        load_table(str(tmp_path / "t.csv"), "y", **config)
    assert str(caught.value) == line.format(file=tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("\xe9t\xe9;size;y\nx;1,5;no\nz;2.000,5;yes\n", LATIN),
        ("été\tsize\ty\nx\t1.5\tno\nz\t2000.5\tyes\n", {"sep": "\t"}),
        ("été,id,size,y\nx,1,1.5,no\nz,2,2000.5,yes\n", {"drop": "id"}),
    ],
)
def test_other_ways_to_write_a_csv_give_the_same_table(
    tmp_path: Path, text: str, config: dict[str, Any]
) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1" if "encoding" in config else "utf-8"))
    table = load_table(str(tmp_path / "t.csv"), "y", **config)
    assert (list(table.numeric), list(table.categories), table.classes) == (["size"], ["été"], ("no", "yes"))
    assert table.numbers[:, 0].tolist() == [1.5, 2000.5]


def test_a_model_reads_its_tables_as_they_were_written_in_training(tmp_path: Path) -> None:
    run = run_of(tmp_path, messy())
    messy().to_csv(tmp_path / "t.csv", index=False, sep=";", encoding="latin-1")
    config = run.data_config | {"sep": ";", "encoding": "latin-1"}
    folder, _ = trained(tmp_path, run.model_copy(update={"data_config": config}))
    answers, _ = predict_file(folder, tmp_path / "t.csv")
    assert len(answers) == 200


def test_two_columns_of_one_name_are_refused_in_a_frame_too() -> None:
    frame = pd.DataFrame([[1, 2, 0]], columns=["a", "a", "y"])
    with pytest.raises(RunError, match="the table: two columns are called 'a'; rename one, or take it out"):
        Table(frame, "y")


def test_a_column_without_a_name_is_no_second_one(tmp_path: Path) -> None:
    """As pandas writes an index."""
    (tmp_path / "t.csv").write_text(",,y\n0,1,2\n")
    assert list(read_frame(tmp_path / "t.csv").columns) == ["Unnamed: 0", "Unnamed: 1", "y"]
