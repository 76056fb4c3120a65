"""A command as a trial: its reports are epochs, and it ends with the trial."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import raysweep
from trainables import command_loop, command_supervisor
from trainables.trial import Trial

COUNTER = """
import json, os, sys
path, start = os.environ["RAYSWEEP_CHECKPOINT"], 0
if path:
    start = int(open(path).read())
print("starts behind", start)
for epoch in range(start + 1, int(os.environ["RAYSWEEP_EPOCHS"]) + 1):
    report = {"epoch": epoch, "score": epoch * float(sys.argv[1])}
    if epoch % 2 and sys.argv[2] == "keeps":
        name = f"epoch-{epoch}.txt"
        with open(os.path.join(os.environ["RAYSWEEP_CHECKPOINT_DIR"], name), "w") as file:
            file.write(str(epoch))
        report["checkpoint"] = name
    print(json.dumps(report))
"""
FOREVER = """
import json, os, signal, subprocess, sys, time
if sys.argv[1] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
print(json.dumps({"own": os.getpid(), "child": child.pid}))
time.sleep(600)
"""


@pytest.fixture
def trials(tmp_path: Path) -> Iterator[Any]:
    """Makes trials of a script, which are closed at the end."""
    made: list[Trial] = []

    def make(script: str, arguments: str = "{scale} {how}", **settings: Any) -> Trial:
        (tmp_path / "script.py").write_text(script, encoding="utf-8")
        config = {
            "command": f"python -S script.py {arguments}",
            "train_config": {"scale": 2.0, "how": "keeps", **settings},
            "epochs": 6,
            "trial": {"seed": 7},
            "import_paths": [str(tmp_path)],
        }
        made.append(Trial())
        made[-1].begin(config, gpu_share=0)
        return made[-1]

    yield make
    for trial in made:
        trial.close()


def scores(trial: Trial) -> list[float]:
    """What is left of a command."""
    results = []
    while "outcome" not in (result := trial.step()):
        results.append(result)
    assert result["outcome"] == "completed", result
    return [each["score"] for each in results]


def is_alive(pid: int) -> bool:
    """Whether a process runs: a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_dead(*pids: int) -> None:
    until = time.monotonic() + 60
    while any(map(is_alive, pids)):
        assert time.monotonic() < until, pids
        time.sleep(0.02)


def test_its_reports_are_epochs_and_the_rest_is_output(trials: Any) -> None:
    assert scores(trials(COUNTER)) == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]


@pytest.mark.parametrize("how", ["keeps", "keeps nothing"])
@pytest.mark.parametrize("epochs", [0, 1, 2, 3])
def test_it_goes_on_where_it_was_saved(trials: Any, tmp_path: Path, epochs: int, how: str) -> None:
    """From its last checkpoint, or from the start; epochs that were reported are not reported again."""
    first = trials(COUNTER, how=how)
    for _ in range(epochs):
        first.step()
    first.save(str(tmp_path / "saved"))
    second = trials(COUNTER, how=how)
    second.load(str(tmp_path / "saved"))
    second.save(str(tmp_path / "saved again"))  # before it has trained
    third = trials(COUNTER, how=how)
    third.load(str(tmp_path / "saved again"))
    assert scores(third) == [2.0 * epoch for epoch in range(epochs + 1, 7)]


def test_it_is_told_all_about_its_trial(trials: Any) -> None:
    script = """
import json, os
given = {key: value for key, value in os.environ.items() if key.startswith("RAYSWEEP_")}
assert os.path.isdir(given.pop("RAYSWEEP_CHECKPOINT_DIR")) and os.path.isfile(given["RAYSWEEP_METRICS_FILE"])
with open(given.pop("RAYSWEEP_METRICS_FILE"), "a") as file:
    print(json.dumps({"score": 1, "cwd": os.path.isfile("script.py")}), file=file)
raise SystemExit(json.dumps(given, sort_keys=True))
"""
    trial = trials(script)
    assert trial.step()["score"] == 1
    report = trial.step()["reason"].removeprefix("run.command: exited with 1: ")
    assert json.loads(report) == {
        "RAYSWEEP_CHECKPOINT": "",
        "RAYSWEEP_CONFIG": '{"scale": 2.0, "how": "keeps"}',
        "RAYSWEEP_DEVICE": "cpu",
        "RAYSWEEP_EPOCHS": "6",
        "RAYSWEEP_SEED": "7",
    }


@pytest.mark.parametrize(
    ("script", "outcome", "reason"),
    [
        ("raise ValueError('no')", "failed", "run.command: exited with 1: ValueError: no"),
        ("raise MemoryError('ate all')", "oom", "OutOfMemoryError: run.command: exited with 1: MemoryError"),
        (
            "print(5)",
            "failed",
            'ended without a report; print a line such as {"loss": 0.5} after each epoch: 5',
        ),
        ("import os; os.kill(os.getpid(), 9)", "failed", "run.command: exited with 137"),
        ("print('{\"loss\": NaN}')", "diverged", "loss nan at epoch 1; lower the learning rate"),
        ('print(\'{"loss": 1, "checkpoint": "x"}\')', "failed", "the checkpoint of epoch 1 is not there: "),
        ("print('{\"done\": 1}')", "failed", "a dictionary with 'done': 'done' is taken"),
    ],
)
def test_how_it_ends_is_the_trials_outcome(trials: Any, script: str, outcome: str, reason: str) -> None:
    result = trials(script).step()
    assert result["outcome"] == outcome
    assert reason in result["reason"]
    assert "\n" not in result["reason"]


def test_its_last_lines_are_kept_with_its_error(trials: Any) -> None:
    result = trials("print('loaded 3 rows')\nraise ValueError('no')").step()
    assert "loaded 3 rows\nTraceback" in result["error"]


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    trial = Trial()
    trial.begin({"command": "no-such-program", "epochs": 2}, gpu_share=0)
    assert trial.step()["reason"] == (
        "run.command: exited with 127: no-such-program: No such file or directory"
    )


@pytest.mark.parametrize("how", ["polite", "deaf"])
def test_closing_its_trial_ends_it_and_all_it_started(
    trials: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """By SIGTERM, and by SIGKILL if that is ignored."""
    monkeypatch.setattr(command_loop, "GRACE_S", 0.2)
    trial = trials(FOREVER, how=how, arguments="{how}")
    result = trial.step()
    scratch = trial.training.loop.scratch
    assert scratch.is_dir()
    trial.close()
    wait_until_dead(int(result["own"]), int(result["child"]))
    assert not scratch.exists()


def test_it_may_finish_after_its_last_epoch(trials: Any, tmp_path: Path) -> None:
    script = """
import time
for _ in range(6):
    print('{"score": 1}')
time.sleep(0.5)
open("model", "w").close()
"""
    trial = trials(script)
    scores(trial)
    trial.close()
    assert (tmp_path / "model").exists()


def test_it_dies_with_a_trial_that_was_killed(tmp_path: Path) -> None:
    """Its supervisor reads from a pipe that is closed however the trial's process ends."""
    (tmp_path / "script.py").write_text(FOREVER, encoding="utf-8")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    holder = f"""
import subprocess, sys, time
argv = [sys.executable, "-I", {command_supervisor.__file__!r}, "5", {str(scratch)!r}]
argv += [sys.executable, "-S", {str(tmp_path / "script.py")!r}, "polite"]
started = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-S", "-c", holder], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pids = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until_dead(pids["own"], pids["child"])
    until = time.monotonic() + 60
    while scratch.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    process.stdout.close()


def test_log_hands_metrics_and_a_checkpoint_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, file = tmp_path / "checkpoints", tmp_path / "metrics.jsonl"
    monkeypatch.setenv("RAYSWEEP_CHECKPOINT_DIR", str(folder))
    monkeypatch.setenv("RAYSWEEP_METRICS_FILE", str(file))
    for epoch in (1, 2):  # under the same name: each is another
        (tmp_path / "last.pt").write_text(str(epoch))
        raysweep.log({"loss": epoch / 2}, checkpoint=tmp_path / "last.pt")
    reports = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(each["loss"], Path(each["checkpoint"]).read_text()) for each in reports] == [
        (0.5, "1"),
        (1.0, "2"),
    ]
    assert not (tmp_path / "last.pt").exists()


def test_outside_a_sweep_log_prints_and_takes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("RAYSWEEP_")]:
        monkeypatch.delenv(name)
    (tmp_path / "last.pt").write_text("1")
    raysweep.log({"loss": 1}, checkpoint=tmp_path / "last.pt")
    assert capsys.readouterr().out == '{"loss": 1.0}\n'
    assert (tmp_path / "last.pt").exists()
