"""The command line."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import launch
from raysweep.cli.group import cli, several_sets
from raysweep.config import read_sweep
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from raysweep.study.storage.layout import StudyFolder

ROOT = Path(__file__).resolve().parents[1]
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))

SWEEP = """\
study_name: tiny
trials: 3
ignore_advice: [few_trials]
sampler: {name: optuna.samplers.RandomSampler}
trial_scheduler: {name: schedulers.FIFO}
run:
  data: trainables.data.load_digits
  optimizer: torch.optim.AdamW
  scheduler: null
  criterion: torch.nn.CrossEntropyLoss
  net_config: {nodes: 8, layers: 1}
  epochs: 2
search_space:
  optimizer_config: {lr: {type: float, min: 1e-3, max: 1e-1, log: true}}
"""


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small sweep file in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    path = Path("tiny.yaml")
    path.write_text(SWEEP)
    return path


def command(*args: Any, **keywords: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        **keywords,
    )


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (
            ["chekc", "x.yaml"],
            "launch.py: 'chekc' is neither a command nor a sweep file; did you mean 'check'?",
        ),
        (["sweep.yaml"], "launch.py: Invalid value for 'FILE': File 'sweep.yaml' does not exist."),
        (["check"], "launch.py: Missing argument 'FILES...'."),
        (["tiny.yaml", "--dry"], "launch.py: No such option '--dry'. Did you mean '--dry-run'?"),
        (["replay", "nothing"], "launch.py: Missing option '--trial-scheduler'."),
        (["replay", "nothing", "--trial-scheduler", "FIFO"], "runs: holds no study 'nothing'; it has none"),
        (["status", "nothing"], "runs: holds no study 'nothing'; it has none"),
        (["report", "nothing"], "runs: holds no study 'nothing'; it has none"),
        (["best", "elsewhere/nothing"], "elsewhere/nothing holds no study (no study.json)"),
    ],
)
def test_a_mistyped_line_gets_one_clear_line_and_exit_2(
    args: list[str], line: str, sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(args) == 2
    errors = capsys.readouterr().err.replace(f"{Path.cwd()}/", "").splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(line)


def test_a_mistyped_study_is_reported_with_the_nearest_name(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("runs/digits_pbt").mkdir(parents=True)
    Path("runs/digits_pbt/study.json").touch()
    assert launch.main(["status", "digit_pbt"]) == 2
    assert capsys.readouterr().err == "runs: holds no study 'digit_pbt'; did you mean 'digits_pbt'?\n"


def test_an_unknown_command_is_answered_with_all_commands(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(["zzz"]) == 2
    assert f"commands: {', '.join(sorted(launch.cli.commands))}" in capsys.readouterr().err  # type: ignore[attr-defined]


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_the_help_lists_every_command_once_and_cuts_no_line(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main([word]) == 0
    shown = capsys.readouterr().out
    assert "..." not in shown.partition("Before:")[2]
    lines = shown.partition("Exit codes:")[0].splitlines()
    listed = [line.split()[0] for line in lines if line[:2] == "  " and line[2:3].isalpha()]
    assert sorted(name for name in listed if name in launch.cli.commands) == sorted(launch.cli.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_shipped_sweep_is_sound_without_a_warning(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(["check", str(path)]) == 0
    assert capsys.readouterr().err == ""


def test_check_reports_every_unsound_file_and_exits_2(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.yaml").write_text(SWEEP.replace("trials: 3", "trails: 3"))
    assert launch.main(["check", "bad.yaml", "tiny.yaml"]) == 2
    out, err = capsys.readouterr()
    assert "tiny.yaml: valid" in out
    assert err.startswith("bad.yaml:2: trails: ")
    assert "did you mean 'trials'?" in err


def test_check_imports_nothing_heavy() -> None:
    """It answers in under two seconds: importing any of these alone takes one or more."""
    program = (
        "import sys, launch; launch.main(['check', *sys.argv[1:]]);"
        "print({'ray', 'torch', 'mlflow', 'pandas', 'sklearn'} & sys.modules.keys() or 'light')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, SWEEPS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "light"


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        ("a.yaml --set x=1 y=2 --name z", "a.yaml --set x=1 --set y=2 --name z"),
        ("--set x=1 --set y=2 a.yaml", "--set x=1 --set y=2 a.yaml"),
        ("--set=x=1 y=2", "--set=x=1 --set y=2"),
        ("--set x=1 a.yaml y=2", "--set x=1 a.yaml y=2"),  # no override: reported as a stray argument
        ("--set", "--set"),
    ],
)
def test_one_set_takes_several_overrides(args: str, meant: str) -> None:
    assert several_sets(args.split()) == meant.split()


def test_an_earlier_study_is_looked_for_where_studies_are_kept(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--runs` says where for this sweep, and so for those that it names."""
    earlier = StudyFolder.create(Path("kept"), "earlier", read_sweep(sweep).sweep, sweep.read_text())
    earlier.journal_dir.mkdir(exist_ok=True)
    args = [str(sweep), "--dry-run", "--set", "warm_start=[earlier]"]
    assert launch.main(args) == 2
    assert "'earlier' is no study" in capsys.readouterr().err
    assert launch.main([*args, "--runs", "kept"]) == 0


def test_a_dry_run_says_what_would_run_and_leaves_nothing(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main([str(sweep), "--dry-run", "--set", "trials=7", "--name", "other"]) == 0
    shown = capsys.readouterr().out
    assert "other" in shown
    assert "7 of at most 2 epochs: 14 in all" in shown
    assert "optimizer_config.lr" in shown
    assert "0.001 .. 0.1 log" in shown
    assert [path.name for path in Path().iterdir()] == [sweep.name]


def test_a_study_is_never_overwritten(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names both ways on."""
    assert launch.main([str(sweep), "--dry-run"]) == 0
    reading = read_sweep(sweep)
    StudyFolder.create(Path("runs"), "tiny", reading.sweep, SWEEP)
    assert launch.main([str(sweep)]) == 2
    error = capsys.readouterr().err
    assert "resume" in error
    assert "--name" in error


def test_what_no_machine_has_is_refused_with_the_numbers(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main([str(sweep), "--set", "resources_per_trial.cpu=4096"]) == 6
    assert "a trial asks for 4096 CPU" in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (["--trials", "+2", "--dry-run"], 0, "trials: 3 -> 5"),
        (["--epochs", "9", "--dry-run"], 0, "run.epochs: 2 -> 9"),
        (["--trials", "2"], 2, "trials: 2 is less than the 3 of the study; use Ctrl-C to end a study sooner"),
        (["--set", "run.batch_size=9"], 2, "run.batch_size: trials of tiny before and after could not be"),
        ([], 2, "nothing would change; give --trials, --epochs or --set search_space"),
    ],
)
def test_an_extension_says_what_it_will_cost_or_why_not(
    args: Any, code: int, line: str, sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = StudyFolder.create(Path("runs"), "tiny", read_sweep(sweep).sweep, SWEEP)
    before = folder.meta_file.read_text()
    assert launch.main(["extend", "tiny", *args]) == code
    assert "".join(capsys.readouterr()).startswith(line)
    assert folder.meta_file.read_text() == before


@pytest.mark.ray
def test_one_line_runs_a_sweep_from_file_to_best(sweep: Path) -> None:
    """Exit 0; every trial in the journal, the winner in a file, status.json true, and no noise."""
    done = command(sweep, "--set", "trials=4")
    assert (done.returncode, done.stderr) == (0, "")
    folder = StudyFolder.open(Path("runs/tiny"))
    record = fold(read_events(folder.journal_dir))
    assert record.counts() == {"completed": 4}
    assert (record.epochs, record.closed.exit_code) == (8, 0)
    assert "optimizer_config" in folder.best_file.read_text()
    assert folder.command() == f"python {ROOT}/launch.py {sweep} --set trials=4"
    status = json.loads(command("status", "tiny", "--json").stdout)
    assert (status["state"], status["trials"]["completed"]) == ("done", 4)
    for word in ("best", "val_loss", "4 completed", "runs/tiny/best.yaml", "mlflow ui"):
        assert word in done.stdout


@pytest.mark.ray
def test_no_success_is_exit_4_and_the_error_is_shown(sweep: Path) -> None:
    done = command(sweep, "--set", "run.data=broken.load", "--set", "max_failures=null")
    assert done.returncode == 2, "a data function that cannot be found is the user's to fix"
    Path("my_net.py").write_text(
        "def Net(in_features, out_features):\n    raise RuntimeError('no such luck')\n"
    )
    args = ["--set", "run.net=my_net.Net", "--set", "run.net_config={}"]
    done = command(sweep, *args, "--set", "trials=2", "--no-preflight")
    assert done.returncode == 4
    assert "2 x RuntimeError: no such luck (first: trial 0)" in done.stdout


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_ctrl_c_during_the_imports_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = command("list", env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (130, "aborted; nothing had begun\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_in_good_order_and_resume_finishes(number: Any, sweep: Any) -> None:
    """Exit 130, the way on printed; no trial is lost and no epoch reported twice."""
    options = ["--set", "trials=6", "--set", "run.epochs=40"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "launch.py"), str(sweep), *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    journal = Path("runs/tiny/journal")
    while not (journal.exists() and fold(read_events(journal)).epochs >= 10):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    out, _ = process.communicate()
    assert process.returncode == 130
    assert f"python {ROOT}/launch.py resume runs/tiny" in out
    assert command("resume", "tiny").returncode == 0
    record = fold(read_events(journal))
    assert record.counts() == {"completed": 6}
    assert record.epochs == 6 * 40


@pytest.mark.parametrize(("file", "what"), [(("runs/x",), "runs/x: cannot"), ((), "a file cannot")])
def test_a_disk_that_refuses_is_a_line_and_exit_code_6(
    file: tuple[str, ...], what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`report` and `export` write into the study, and so do others."""
    full = OSError(errno.ENOSPC, "No space left on device", *file)

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise full

    monkeypatch.setattr(cli, "main", refuse)
    assert launch.main(["report"]) == 6
    line = "be written (No space left on device); free some space, or write elsewhere\n"
    assert capsys.readouterr().err == f"{what} {line}"
