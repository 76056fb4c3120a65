"""`launch.py init` with a realistic table: the kinds of its columns, what is dropped and what predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import launch
from raysweep.authoring.table_interview import ask_of_table, how_written
from raysweep.config import SweepError, read_sweep
from trainables.column_profile import profile, table_lines
from trainables.data import load

ROWS = 120
HEADER = "Kunden_ID;Signup;Revenue;Price;Plan ; Notes;Empty;Currency;Age;Churned"


def messy(signup: str = "{day:02d}/{month:02d}/2024") -> str:
    """With semicolons, euro prices, thousands, all kinds of gaps, and columns without information."""
    rng, lines = np.random.default_rng(0), [HEADER]
    for row in range(ROWS):
        day, month = int(rng.integers(1, 29)), row % 12 + 1
        if signup != "{day:02d}/{month:02d}/2024":
            day = day % 12 + 1
        cells = [
            f"K-{row}",
            signup.format(day=day, month=month),
            '"1,234.50"' if row % 2 else "-",
            "1.234,50 €" if row % 3 else "",
            "basic" if row % 2 else "plus ",
            f'"called, case {row}"' if row % 2 else "",
            "",
            "EUR",
            "?" if row % 5 == 0 else str(row % 70),
            "" if row % 11 == 0 else "yes" if row % 10 == 1 else "no",
        ]
        lines.append(";".join(cells))
    return "\r\n".join(lines) + "\r\n"


@pytest.fixture(autouse=True)
def _with_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("messy.csv").write_text(messy(), encoding="utf-8-sig", newline="")


def unheard(line: str) -> None:
    """Ignore all messages."""


def default(question: str, value: Any) -> Any:
    assert value is not None, question
    return value


def test_a_messy_table_becomes_a_sound_file_without_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["init", "--data", "messy.csv", "--slots", "1", "--gpus", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()[:3]) for line in lines[:3]] == [
        "messy.csv: 120 rows,",
        "column what it",
        "Kunden_ID identifier K-0,",
    ]
    assert lines[12:14] == [
        "left out: Kunden_ID (identifier), Notes (text, 60 different), Empty (empty), "
        "Currency (one value alone)",
        "predicting 'Churned' (yes 10.1 %)",
    ]
    run = read_sweep("sweep.yaml").sweep.run
    assert run.data_config == {
        "path": "messy.csv",
        "target": "Churned",
        "drop": ["Kunden_ID", "Notes", "Empty", "Currency"],
        "sep": ";",
        "task": "classification",
    }
    data = load(run, ["."])
    assert (data.names, data.in_features, len(data.x_train)) == (("no", "yes"), 9, 65)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([*range(1, 41)], "identifier"),  # counts the rows, whatever it is called
        ([f"u{n}" for n in range(40)], "identifier"),
        ([1.5, None] * 20, "numbers"),
        ([1.5] * 40, "one value alone"),
        ([None] * 40, "empty"),
        (["-"] * 40, "empty"),
        ([f"a long sentence number {n}" for n in range(40)], "text, 40 different"),
        (["a", "b"] * 20, "2 categories"),
        (["1.234,50 €", "7 €"] * 20, "numbers (1.234,5)"),
        (["31.1.2024", "1.2.2024"] * 20, "dates (day/month/year)"),
        (["1/2/2024", "3/4/2024"] * 20, "dates"),  # and which comes first is asked
        ([*range(40, 0, -1)], "numbers"),
    ],
)
def test_the_values_say_what_a_column_is_for(values: Any, what: str) -> None:
    assert profile(pd.DataFrame({"column": values}))[0].what == what


@pytest.mark.parametrize(
    ("name", "what"), [("user_id", "identifier"), ("UserID", "identifier"), ("paid", "numbers")]
)
def test_whole_numbers_that_all_differ_are_identifiers_by_their_name(name: str, what: str) -> None:
    frame = pd.DataFrame({name: np.random.default_rng(0).permutation(1000)[:50]})
    assert profile(frame)[0].what == what


@pytest.mark.parametrize(
    ("target", "drop", "line"),
    [
        ("Empty", None, "messy.csv: target: column 'Empty' has no value; predict another, such as Churned"),
        ("Currency", None, "column 'Currency' has only one value; predict another, such as Churned"),
        (
            "Churn",
            None,
            "target: no column 'Churn'; there are Kunden_ID, Signup, Revenue, Price, Plan, Notes",
        ),
        (None, "Age, Zip", "messy.csv: drop: no column 'Zip'"),
        (None, "Churned", "messy.csv: drop: 'Churned' is the column to predict"),
    ],
)
def test_an_answer_that_cannot_be_is_a_line(target: str | None, drop: str | None, line: str) -> None:
    with pytest.raises(SweepError) as caught:
        ask_of_table("messy.csv", target, drop, default, unheard)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_to_leave_out_is_asked_once_and_can_be_changed() -> None:
    asked = []

    def ask(question: str, value: Any) -> Any:
        asked.append((question.partition(",")[0], value))
        return "Notes" if "leave out" in question else value

    with pytest.raises(
        SweepError, match="more than 100 distinct words are no categories: column 'Kunden_ID'"
    ):
        ask_of_table("messy.csv", None, None, ask, unheard)
    proposed = "Kunden_ID, Notes, Empty, Currency"
    assert asked == [("Column to predict", "Churned"), ("Columns to leave out", proposed)]


@pytest.mark.parametrize(("answer", "first"), [("day", True), ("month", False)])
def test_ambiguous_dates_are_asked_about_once(answer: str, first: bool) -> None:
    Path("messy.csv").write_text(messy("{day}/{month}/2024"), encoding="utf-8-sig")
    lines: list[str] = []
    answers = ask_of_table(
        "messy.csv", None, None, lambda q, value: answer if q.startswith("Dates") else value, lines.append
    )
    assert answers.reading == {"sep": ";", "dayfirst": first}
    assert f"dates are read with the {answer} first: Signup" in lines


@pytest.mark.parametrize(
    ("text", "encoding", "how"),
    [
        ("a,b\n1,2\n", "utf-8", {}),
        ('a;"b, c"\n1;2\n', "utf-8-sig", {"sep": ";"}),
        ("a;b\n1,5;2,5\n2,5;1,5\n", "utf-8", {"sep": ";"}),
        ("prix €;b\n1;2\n", "cp1252", {"sep": ";", "encoding": "cp1252"}),
        ("pièce;b\n1;2\n", "latin-1", {"sep": ";", "encoding": "latin-1"}),
        ("a\tb\n1\t2\n", "utf-16", {"sep": "\t", "encoding": "utf-16"}),
    ],
)
def test_how_a_csv_is_written_is_seen(text: str, encoding: str, how: dict[str, str]) -> None:
    Path("one.csv").write_text(text, encoding=encoding)
    assert how_written("one.csv") == how


def test_of_many_columns_the_first_are_listed_and_the_rest_counted() -> None:
    frame = pd.DataFrame({f"x{column}": np.arange(40.0) % 7 for column in range(100)} | {"flat": 1.0})
    header, *lines = table_lines(profile(frame))
    assert header.split()[0] == "column"
    assert len(lines) == 31
    assert lines[-1] == "  and 71 more: numbers (70), constant (1)"
