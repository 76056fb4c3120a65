"""`launch.py check`: its output, its exit codes, and what it says about the data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import launch
from raysweep.advice.data import DataFacts, facts_of
from raysweep.authoring.init_sweep import init_from_template
from raysweep.config import Problem, SweepError
from raysweep.preflight.check_file import CheckResult, check_file
from tests.config.test_mutations import TEXTS, mutated, mutations
from tests.sound_sweep import WELL
from trainables.data import Data, DataPart, Split

CLONE = Path(__file__).parents[2]
SHIPPED = sorted((CLONE / "sweeps").glob("*.yaml"))


@pytest.fixture
def well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("well.yaml").write_text(WELL)
    return Path("well.yaml")


def test_advice_stops_no_run_unless_strict(well: Path) -> None:
    well.write_text(WELL.replace("trials: 60", "trials: 59"))
    assert launch.main(["check", "well.yaml"]) == 0
    assert launch.main(["check", "--strict", "well.yaml"]) == 2


def test_advice_goes_to_the_output_and_complaints_to_the_errors(
    well: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    well.write_text(WELL.replace("trials: 60", "trials: 59").replace("  epochs", "  device: cuda\n  epochs"))
    launch.main(["check", "well.yaml"])
    output = capsys.readouterr()
    assert output.out == (
        "well.yaml: valid, 1 piece of advice (few_trials)\n"
        "advice: well.yaml:2: trials: 59 trials for 1 parameter; the rule of thumb is 60; "
        "try --set trials=60 [few_trials]\n"
    )
    assert output.err.startswith("warning: well.yaml:13: run.device: 'cuda' means any GPU")


def test_a_warning_fails_a_strict_check(well: Path) -> None:
    well.write_text(WELL.replace("  epochs", "  device: cuda\n  epochs"))
    assert launch.main(["check", "well.yaml"]) == 0
    assert launch.main(["check", "--strict", "well.yaml"]) == 2


def test_the_mend_can_be_tried_with_set(well: Path) -> None:
    well.write_text(WELL.replace("trials: 60", "trials: 59"))
    assert launch.main(["check", "--strict", "well.yaml", "--set", "trials=60"]) == 0


def test_programs_get_everything(well: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("unsound.yaml").write_text("trails: 3\n" + WELL)
    well.write_text(WELL.replace("trials: 60", "trials: 59"))
    assert launch.main(["check", "--json", "well.yaml", "unsound.yaml"]) == 2
    sound, unsound = json.loads(capsys.readouterr().out)
    (advice,) = sound["advice"]
    assert (advice["name"], advice["line"], advice["set"]) == ("few_trials", 2, ["trials=60"])
    assert "document 002" in advice["source"]
    assert (unsound["sound"], unsound["problems"][0]["line"]) == (False, 1)


def test_run_says_in_one_line_how_much_advice_there_is(
    well: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    well.write_text(WELL.replace("trials: 60", "trials: 59"))
    assert launch.main(["run", "--dry-run", "well.yaml"]) == 0
    assert capsys.readouterr().err == (
        f"1 piece of advice (few_trials): `python {launch.__file__} check well.yaml` says more\n"
    )


def test_unknown_advice_is_an_error_of_the_file(well: Path, capsys: pytest.CaptureFixture[str]) -> None:
    well.write_text(WELL + "ignore_advice:\n  - few_trial\n")
    assert launch.main(["check", "well.yaml"]) == 2
    line = "well.yaml:18: ignore_advice[0]: unknown advice; did you mean 'few_trials'?\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_strict_check_of_every_shipped_sweep_is_clean(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(["check", "--strict", str(file)]) == 0
    assert capsys.readouterr().err == ""


def part(train: np.ndarray, val: np.ndarray) -> DataPart:
    return DataPart(Split(train, train[:, :1]), Split(val, val[:, :1]))


def test_rows_in_two_splits_are_counted() -> None:
    """Bit for bit, the target included."""
    rows = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    whole = part(rows[:20], rows[18:25])
    data = Data((whole, whole), "regression", 0, "", "")
    facts = facts_of(data, whole, Split(rows[15:30], rows[15:30, :1]))
    assert facts == DataFacts(
        rows=42,
        val_rows=14,
        folds=2,
        test_rows=15,
        test_in_train=5,
        val_in_train=2,
        first_val_rows=7,
        trained=20,
        train_rows=20,
    )


LEAK = """\
import numpy as np
def load(rows: int = 1200, copies: int = 1):
    x = np.random.default_rng(0).normal(size=(rows // copies, 3))
    x = np.concatenate([x] * copies)
    return x, x[:, 0] * 2.0
"""


@pytest.mark.parametrize(
    ("rows", "copies", "names"),
    [
        (2000, 1, []),
        (2000, 2, ["leaking_test", "leaking_validation"]),
        (1400, 1, ["used_up_validation"]),
        (990, 1, ["used_up_validation", "few_rows"]),
    ],
)
def test_data_are_loaded_and_argued_with_on_demand(
    rows: int, copies: int, names: list[str], well: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("leaky_rows.py").write_text(LEAK)
    text = WELL.replace("trainables.data.load_digits", "leaky_rows.load").replace("CrossEntropy", "MSE")
    well.write_text(text.replace("  epochs", f"  data_config: {{rows: {rows}, copies: {copies}}}\n  epochs"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "leaky_rows", raising=False)
    assert [advice.name for advice in check_file(well).advice] == []
    assert sorted(advice.name for advice in check_file(well, with_data=True).advice) == sorted(names)


@pytest.mark.parametrize(
    ("rows", "min_delta", "raised"), [(225, 0, False), (224, 0, True), (900, 0.01, False), (899, 0.01, True)]
)
def test_validation_rows_must_tell_the_differences_sought_apart(
    rows: int, min_delta: float, raised: bool, well: Path
) -> None:
    """At 90%, n rows determine an accuracy to sqrt(0.09 / n): 2% at 225, 1% at 900."""
    from raysweep.advice.data import small_validation

    stop = f"stop: {{no_improvement: {{trials: 20, min_delta: {min_delta}}}}}\n"
    well.write_text("metric: accuracy\ndirection: maximize\n" + stop + WELL)
    sweep = check_file(well).sweep
    assert sweep is not None
    assert bool(list(small_validation(sweep, DataFacts(rows=9000, val_rows=rows)))) is raised


SPLUS = {"run.optimizer": "pytorch_optimizer.SPlus", "run.optimizer_config": "{}"}
CHOICE = "{type: categorical, choices: [torch.optim.AdamW, pytorch_optimizer.SPlus]}"


@pytest.mark.parametrize(
    ("sets", "rows", "fits"),
    [
        ({}, 2000, None),  # AdamW averages nothing
        (SPLUS, 51_200, None),  # 200 steps an epoch, 4,000 in all: a quarter is 1,000
        (SPLUS, 51_199 - 256, "run.optimizer_config.ema_rate=0.995"),
        (SPLUS | {"run.epochs": "10"}, 8000, "run.optimizer_config.ema_rate=0.94"),
        (SPLUS | {"run.epochs": "10", "run.optimizer_config": "{ema_rate: 0.98}"}, 8000, None),
        (SPLUS | {"run.data_fraction": "0.5"}, 51_200, "run.optimizer_config.ema_rate=0.99"),
        (SPLUS | {"run.train": "tests.trainables.samples.counting"}, 10, None),
        (
            SPLUS | {"search_space.batch_size": "{type: int, min: 64, max: 512, log: true}"},
            51_200,
            "run.optimizer_config.ema_rate=0.99",
        ),
        (
            {"search_space.optimizer": CHOICE},
            8000,
            "search_space.optimizer_config.ema_rate={type: categorical, choices: [0.97], "
            "when: {optimizer: pytorch_optimizer.SPlus}}",
        ),
    ],
)
def test_an_average_of_weights_spans_a_quarter_of_a_run_at_most(
    sets: dict[str, str], rows: int, fits: str | None, well: Path
) -> None:
    """The suggestion is a twentieth of the steps with the largest batch, and satisfies the rule."""
    from raysweep.advice.data import averaging_window

    def fixes(more: list[str]) -> list[str]:
        sweep = check_file(well, overrides=[f"{key}={value}" for key, value in sets.items()] + more).sweep
        assert sweep is not None
        facts = DataFacts(rows=9000, val_rows=2000, train_rows=rows)
        return [each for remark in averaging_window(sweep, facts) for each in remark.sets]

    assert fixes([]) == ([] if fits is None else [fits])
    assert fixes([] if fits is None else [fits]) == []


def test_data_that_cannot_be_loaded_are_a_problem_of_the_file(well: Path) -> None:
    well.write_text(WELL.replace("  epochs", "  data_config: {val_fraction: 2}\n  epochs"))
    assert check_file(well).sweep is not None
    (problem,) = check_file(well, with_data=True).problems
    assert str(problem) == (
        "well.yaml:7: run.data: data_config.val_fraction: a number, more than 0 and less than 1, not 2"
    )


@pytest.mark.parametrize(
    ("offset", "problem"),
    [
        (
            0.5,
            "well.yaml:13: criterion: torch.nn.CrossEntropyLoss is for classes, the data are a "
            "regression; use torch.nn.MSELoss",
        ),
        (0.0, "well.yaml:7: run.data: classes: 0, 8, 10, 12, 17, 25 and 74 more: validated on and "),
    ],
)
def test_what_a_run_would_refuse_of_its_data_is_a_problem(well: Path, offset: float, problem: str) -> None:
    Path("t.csv").write_text("x,y\n" + "".join(f"{row},{row + offset}\n" for row in range(400)))
    well.write_text(WELL.replace("load_digits", "load_table\n  data_config: {path: t.csv, target: y}"))
    assert check_file(well).sweep is not None
    (found,) = check_file(well, with_data=True).problems
    assert str(found).startswith(problem)


@settings(max_examples=max(1, 150 // len(TEXTS)), suppress_health_check=list(HealthCheck))
@given(changes=mutations)
@pytest.mark.parametrize("name", TEXTS)
def test_a_mutated_file_is_looked_at_without_a_traceback(
    name: str, changes: list[tuple[str, int, str]], tmp_path: Path
) -> None:
    """The rules of thumb also accept every valid file."""
    file = tmp_path / "sweep.yaml"
    file.write_bytes(mutated(TEXTS[name], changes))
    result = check_file(file)
    assert isinstance(result, CheckResult)
    for line in (*result.complaints(), *result.verdict()):
        assert "\n" not in line


TEMPLATE = {
    name: (CLONE / "tests" / "config" / "files" / f"{name}.yaml").read_bytes() for name in ("run", "opt")
}


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(changes=mutations)
@pytest.mark.parametrize("broken", TEMPLATE)
def test_a_mutated_pair_is_converted_or_the_reason_reported(
    broken: str, changes: list[tuple[str, int, str]], tmp_path: Path
) -> None:
    """And nothing is left behind if it is not."""
    for name, text in TEMPLATE.items():
        (tmp_path / f"{name}.yaml").write_bytes(mutated(text, changes) if name == broken else text)
    one = tmp_path / "one.yaml"
    one.unlink(missing_ok=True)
    problems: tuple[Problem, ...] = ()
    try:
        init_from_template(one, tmp_path / "run.yaml", tmp_path / "opt.yaml", clone=CLONE)
    except SweepError as error:
        problems = error.problems
    assert one.exists() is not bool(problems)
    assert all("\n" not in str(problem) for problem in problems)
