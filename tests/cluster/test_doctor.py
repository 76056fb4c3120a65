"""`launch.py doctor`: what it finds, and that it ends no process."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import launch
from raysweep.cluster import doctor
from raysweep.cluster.doctor import MachineCheck, check_machine
from raysweep.cluster.leftover_processes import leftovers
from raysweep.study.storage.process_tag import DRIVER_TAG, process_start_ticks, tagged_process_env

ROOT = Path(__file__).parents[2]
DRIVER = """
import pathlib, subprocess, sys, time
from raysweep.study.storage.process_tag import tagged_process_env

with tagged_process_env(pathlib.Path(sys.argv[1])):
    print(subprocess.Popen(["sleep", "60"], start_new_session=True).pid, flush=True)
    time.sleep(60)
"""


def look(tmp_path: Path, **environ: str) -> dict[str, MachineCheck]:
    """Every check by its name."""
    checks = check_machine(
        tmp_path, environ, tmp_path, tracking=lambda: ("sqlite:///x.db", ""), try_ray=False
    )
    return {check.name: check for check in checks}


def fake_smi(folder: Path, output: str, code: int) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho '{output}'\nexit {code}\n")
    tool.chmod(0o755)


@pytest.mark.parametrize(
    ("output", "code", "build", "environ", "state", "message"),
    [
        ("NVIDIA H200, 143771 MiB, 570.1", 0, "2.13.0+cu126", {}, "ok", "1 x NVIDIA H200, 143771 MiB, 570.1"),
        (
            "NVIDIA H200, 143771 MiB, 570.1",
            0,
            "2.13.0+cpu",
            {},
            "problem",
            "torch 2.13.0+cpu cannot use them",
        ),
        (
            "NVIDIA H200",
            0,
            "2.13.0+cu126",
            {"CUDA_VISIBLE_DEVICES": ""},
            "note",
            "CUDA_VISIBLE_DEVICES shows none",
        ),
        ("No devices were found", 6, "2.13.0", {}, "problem", "nvidia-smi: No devices were found"),
    ],
)
def test_gpus_are_seen_together_with_the_torch_that_is_to_use_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    output: str,
    code: int,
    build: str,
    environ: dict[str, str],
    state: str,
    message: str,
) -> None:
    fake_smi(tmp_path, output, code)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(doctor, "version", lambda name: build)
    gpu_check = doctor._gpus(environ)
    assert (gpu_check.state, message in gpu_check.message) == (state, True), gpu_check


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o644])
def test_a_token_is_made_readable_for_its_owner_alone(tmp_path: Path, mode: int) -> None:
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(mode)
    assert look(tmp_path)["token"].state == "ok"
    assert "secret" not in str(look(tmp_path)["token"])
    assert token.stat().st_mode & 0o777 == 0o600


def test_a_token_that_stays_open_to_others_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)

    def refuse(*_words: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    token_check = look(tmp_path)["token"]
    assert (token_check.state, token_check.message) == (
        "problem",
        f"{token}: others can read this token, and its mode cannot be changed (Operation not permitted); "
        f"chmod 600 {token}",
    )


def test_a_package_of_another_version_than_pinned_is_named_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: None if name == "optuna" else "1.0")
    fixes = {check.message: check.fix for check in doctor._packages()}
    assert fixes["ray 1.0, required ==2.60.0"] == "pip install -c constraints.txt -e ."
    assert any(message.startswith("optuna is missing, required ") for message in fixes)


def test_where_sweeps_would_go_is_reported(tmp_path: Path) -> None:
    assert look(tmp_path)["RAY_ADDRESS"].message.startswith("not set")
    with socket.create_server(("", 0)) as head:
        port = head.getsockname()[1]
        assert look(tmp_path, RAY_ADDRESS=f"127.0.0.1:{port}")["RAY_ADDRESS"].state == "note"
    stale = look(tmp_path, RAY_ADDRESS=f"127.0.0.1:{port}")["RAY_ADDRESS"]
    assert (stale.state, stale.fix) == ("problem", "unset RAY_ADDRESS")


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """A process of a live driver; calling the fixture kills the driver."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path / "runs/a")], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    with driver:
        assert driver.stdout is not None
        child = int(driver.stdout.readline())

        def kill() -> int:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            return child

        yield kill
        kill()
    os.kill(child, signal.SIGKILL)


def test_what_a_dead_driver_left_running_is_named_and_left_running(
    tmp_path: Path, orphan: Callable[[], int]
) -> None:
    """Processes of a live driver, and those without a tag, are not reported."""
    mine = str(tmp_path / "runs/a")
    assert mine not in {left.study for left in leftovers()}
    child = orphan()
    (left,) = [left for left in leftovers() if left.study == mine]
    assert (left.pids, left.kill_command) == ((child,), f"kill {child}")
    assert left.commands == ("sleep 60",)
    os.kill(child, 0)  # it lives
    leftover_check = next(check for check in doctor._leftovers([left]))
    assert (leftover_check.state, leftover_check.fix) == ("problem", f"kill {child}")


def test_a_reused_process_id_is_not_taken_for_the_driver(tmp_path: Path) -> None:
    """The start time distinguishes two processes with the same id."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7/environ").write_bytes(f"A=1\0{DRIVER_TAG}={os.getpid()}:1:/runs/b\0".encode())
    (tmp_path / "7/cmdline").write_bytes(b"raylet\0--x\0")
    (tmp_path / str(os.getpid())).mkdir()
    (tmp_path / str(os.getpid()) / "stat").write_text(f"{os.getpid()} (a b) " + " ".join(["0"] * 19 + ["2"]))
    (left,) = leftovers(tmp_path)
    assert (left.driver, left.study, left.commands) == (os.getpid(), "/runs/b", ("raylet --x",))


def test_the_mark_is_in_the_environment_only_while_a_study_runs(tmp_path: Path) -> None:
    with tagged_process_env(tmp_path):
        assert os.environ[DRIVER_TAG] == f"{os.getpid()}:{process_start_ticks(os.getpid())}:{tmp_path}"
    assert DRIVER_TAG not in os.environ


def test_the_command_exits_with_1_where_there_is_a_problem_and_speaks_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert launch.main(["doctor", "--json"]) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert checks["MLflow"]["state"] == "problem"
    assert "http://127.0.0.1:9 does not answer" in checks["MLflow"]["message"]
    assert launch.main(["doctor"]) == 1
    assert "does not answer" in capsys.readouterr().out
