"""`launch.py init` writes a valid and well-made file from answers or from the template's two files."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import pytest

import launch
from raysweep.authoring.init_sweep import init_from_answers, init_from_template, schema_from
from raysweep.config import SweepError, read_sweep
from raysweep.planning.strategy import recommend
from trainables.run_config import read as read_run

CLONE = Path(__file__).parents[2]
FILES = CLONE / "tests" / "config" / "files"
TABLE = "rooms,age,price\n" + "".join(f"{row % 7},{row * 3 % 50},{row * 0.5}\n" for row in range(400))


@pytest.fixture(autouse=True)
def _in_a_folder_with_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("homes.csv").write_text(TABLE)
    Path("my homes.csv.gz").write_bytes(gzip.compress(TABLE.encode()))
    Path("kinds.csv").write_text(TABLE.replace("price", "kind").replace(".5\n", "\n").replace(".0\n", "\n"))


def use_default(question: str, default: Any) -> Any:
    """Take every default."""
    assert default is not None, question
    return default


messages: list[str] = []


def begun(file: str = "sweep.yaml", cpus: int = 4, gpus: int = 0, **given: Any) -> Path:
    seen = init_from_answers(
        Path(file), given, use_default, messages.append, cpus=cpus, gpus=gpus, clone=CLONE
    )
    assert (seen.problems, seen.warnings, seen.advice) == ((), (), ())
    return Path(file)


@pytest.mark.parametrize(
    ("data", "hours", "gpus"),
    [
        *itertools.product(
            ["homes.csv", "my homes.csv.gz", "trainables.data.load_digits"], [0.01, 50, 500, 2000], [0, 3]
        )
    ],
)
def test_what_is_written_passes_check_without_a_word(data: str, hours: float, gpus: int) -> None:
    task = "classification" if "digits" in data else "regression"
    begun(data=data, hours=hours, gpus=gpus, task=task)
    assert launch.main(["check", "--strict", "sweep.yaml"]) == 0


def test_a_table_is_read_for_its_last_column_and_its_task() -> None:
    run = read_sweep(begun(data="homes.csv")).sweep.run
    assert run.data_config == {"path": "homes.csv", "target": "price", "task": "regression"}
    assert run.criterion == "torch.nn.MSELoss"


@pytest.mark.parametrize(
    ("separator", "encoding", "config"),
    [
        (";", "utf-8", {"sep": ";"}),
        ("\t", "latin-1", {"sep": "\t", "encoding": "latin-1"}),
        (",", "latin-1", {"encoding": "latin-1"}),
    ],
)
def test_how_a_table_is_written_is_seen(separator: str, encoding: str, config: dict[str, str]) -> None:
    text = TABLE.replace("rooms", "pi\xe8ces").replace(",", separator)
    Path("homes.csv").write_bytes(text.encode(encoding))
    run = read_sweep(begun(data="homes.csv")).sweep.run
    assert run.data_config == {"path": "homes.csv", "target": "price", "task": "regression", **config}


def test_few_whole_numbers_are_classes() -> None:
    run = read_sweep(begun(data="kinds.csv", target="rooms")).sweep.run
    assert (run.data_config["task"], run.criterion) == ("classification", "torch.nn.CrossEntropyLoss")


@pytest.mark.parametrize(
    ("parameters", "hours", "sampler", "trials"),
    [
        (1, 1, "QMCSampler", 64),
        (2, 50, "QMCSampler", 64),
        (3, 50, "RandomSampler", 100),
        (4, 5, "RandomSampler", 100),
        (5, 50, "TPESampler", 300),
        (8, 50, "TPESampler", 480),
        (5, 1000, "TPESampler", 500),
    ],
)
def test_dimensions_and_hours_choose_the_strategy(
    parameters: int, hours: float, sampler: str, trials: int
) -> None:
    """Document 003, Criterion 1: 50 to 200 random trials, 100 to 500 with a model."""
    strategy = recommend(parameters, hours)
    assert (strategy.sampler.rpartition(".")[2], strategy.trials) == (sampler, trials)


@pytest.mark.parametrize(("hours", "searched"), [(9.9, 1), (10, 4), (100, 5)])
def test_under_ten_hours_the_learning_rate_alone_is_searched(hours: float, searched: int) -> None:
    space = list(read_sweep(begun(data="homes.csv", hours=hours)).sweep.space)
    assert len(space) == searched
    assert space[0] == "optimizer_config.lr"


def test_fewer_trials_than_advised_are_ignored_on_request() -> None:
    text = begun(data="homes.csv", trials=20).read_text()
    assert text.endswith("# As answered when this file was made.\nignore_advice: [few_trials]\n")


@pytest.mark.parametrize(
    ("cpus", "gpus", "slots", "cpu", "gpu"),
    [
        (8, 0, 4, 2, 0),
        (2, 0, 4, 0.5, 0),
        (8, 2, 4, 2, 0.5),
        (8, 2, 3, 2, 0.5),
        (16, 4, 2, 8, 1),  # a net of ours uses one
        (3, 1, 3, 1, 0.33),
    ],
)
def test_so_many_slots_fit_on_the_machine(cpus: int, gpus: int, slots: int, cpu: float, gpu: float) -> None:
    sweep = read_sweep(begun(data="homes.csv", cpus=cpus, gpus=gpus, slots=slots)).sweep
    asked = sweep.resources_per_trial
    assert (asked.cpu, asked.gpu) == (cpu, gpu)
    from raysweep.cluster.machine import Machine

    assert Machine(cpus, gpus).slots(asked, sweep.max_concurrent_trials) == slots


def test_questions_are_asked_only_for_what_was_not_given() -> None:
    asked: list[str] = []

    def ask(question: str, default: Any) -> Any:
        asked.append(question.partition(" ")[0])
        return "homes.csv" if default is None else default

    init_from_answers(Path("sweep.yaml"), {"hours": 2}, ask, messages.append, cpus=2, gpus=0, clone=CLONE)
    assert asked == ["Data:", "Column", "Task:", "Trials"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"data": "hmes.csv"}, "hmes.csv: there is no such file; give the table's path from here"),
        (
            {"data": "homes.csv", "target": "prize"},
            "homes.csv: target: no column 'prize'; there are rooms, age, price",
        ),
        (
            {"data": "homes.csv", "task": "classify"},
            "task: 'classify' is not a task; did you mean 'classification'?",
        ),
        ({"data": "trainables.data.load_digit"}, "did you mean 'trainables.data.load_digits'?"),
        ({"data": "homes.csv", "name": "../up"}, "'../up' cannot be a folder's name"),
        (
            {"data": "arrays.npz"},
            "arrays.npz: is no CSV or Parquet file; write it as one, or name a function that loads it, as in",
        ),
        ({"data": "broken.parquet", "target": "x"}, "broken.parquet: cannot be read as a table"),
    ],
)
def test_an_answer_that_cannot_be_is_one_line_and_leaves_nothing(given: dict[str, Any], line: str) -> None:
    Path("broken.parquet").write_bytes(b"no parquet")
    Path("arrays.npz").write_bytes(b"arrays")
    with pytest.raises(SweepError) as caught:
        init_from_answers(
            Path("sweep.yaml"), given, use_default, messages.append, cpus=2, gpus=0, clone=CLONE
        )
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("sweep.yaml").exists()


def test_a_file_that_is_there_is_never_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    Path("sweep.yaml").write_text("mine\n")
    assert launch.main(["init", "--data", "homes.csv"]) == 2
    assert capsys.readouterr().err == "sweep.yaml: exists already; name another file\n"
    assert Path("sweep.yaml").read_text() == "mine\n"


def test_without_a_terminal_the_missing_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["init"]) == 2
    assert capsys.readouterr().err.startswith("launch.py: no terminal to ask at: Data: a table")


def test_the_command_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["init", "first.yaml", "--data", "homes.csv", "--slots", "1", "--gpus", "0"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("homes.csv: 400 rows, 3 columns\n  column  what it is  missing  values\n")
    assert printed.endswith(
        "predicting 'price' (0 to 199.5, median 99.75)\n"
        f"first.yaml: valid\nrun it: python {launch.__file__} first.yaml\n"
    )


def test_an_editor_finds_the_schema(tmp_path: Path) -> None:
    assert schema_from(CLONE / "sweeps" / "new.yaml", CLONE) == "../docs/sweep.schema.json"
    assert schema_from(tmp_path / "new.yaml", CLONE) == (CLONE / "docs" / "sweep.schema.json").as_uri()


def converted(run: str, optimize: str) -> str:
    Path("run.yaml").write_text(run)
    Path("opt.yaml").write_text(optimize)
    init_from_template(Path("one.yaml"), Path("run.yaml"), Path("opt.yaml"), clone=CLONE)
    return Path("one.yaml").read_text()


RUN, OPT = (FILES / "run.yaml").read_text(), (FILES / "opt.yaml").read_text()


def test_the_templates_two_files_become_one_that_means_the_same() -> None:
    converted(RUN, OPT)
    one = read_sweep("one.yaml").sweep
    two = read_sweep("run.yaml", optimize_config="opt.yaml").sweep
    assert one.model_dump(exclude={"run": {"device"}}) == two.model_dump(exclude={"run": {"device"}})
    assert read_run(one.run.model_dump()) == one.run


def test_changes_are_commented_in_place_and_comments_stay() -> None:
    text = converted(RUN, OPT)
    for line in (
        "# Merged from run.yaml and opt.yaml by `launch.py init --from-template`.",
        "trial_scheduler:",
        "  name: schedulers.ClassicPFL    # was pruner.PFLPruner",
        "    target_epoch: 10 # match HPO epochs",
        "  # The template's run config, as a user would have it.",
        "  # device: cuda:0    # which GPU a trial gets is decided by Ray: see resources_per_trial",
        "  # wandb:    # ignored before, too: trials are tracked in MLflow",
        "  #   project: MyProject",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("run", "optimize"),
    [
        (RUN, OPT.replace("study_name: MyProject_HPO\n", "")),
        (RUN, "%YAML 1.2\n---\n" + OPT + "...\n"),
        ("\ufeff" + RUN, OPT + "wandb: {project: x}\n"),
        (RUN.replace("net_config:\n  nodes", "net_config: &net\n  nodes"), OPT),
        (RUN, OPT.replace("pruner:\n  name: pruner.PFLPruner", "'pruner':\n  name: 'pruner.PFLPruner'")),
        (RUN.replace("project: MyProject\ndevice", "project: |-\n  MyProject\ndevice"), OPT),
        (RUN.replace("device: cuda:0", "device: cpu"), OPT),
        (RUN + "\n# the end", OPT + "\n\n# the end"),
    ],
)
def test_files_written_otherwise_are_converted_too(run: str, optimize: str) -> None:
    converted(run, optimize)


def test_files_whose_lines_cannot_be_moved_come_with_how_to_run_them() -> None:
    with pytest.raises(SweepError) as caught:
        converted(RUN, "{study_name: x, trials: 3}\n")
    assert str(caught.value) == (
        "opt.yaml: cannot be merged line by line; "
        "run them as they are: launch.py run.yaml --optimize-config opt.yaml"
    )
    assert not Path("one.yaml").exists()
