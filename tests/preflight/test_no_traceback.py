"""However a sweep file is mutated, the commands before a run answer with lines and an exit code."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import launch
from tests.config.test_mutations import TEXTS, mutated, mutations

BROKEN = """\
study_name: broken
trials: 4
run:
  data: {data}
  data_config: {data_config}
  scheduler: null
  epochs: 2
search_space: {{optimizer_config: {{lr: {{type: float, min: 1e-4, max: 1e-2, log: true}}}}}}
"""


COMMANDS = {
    "plan": ("--epoch-s", "0.1", "--json"),
    "preflight": ("--local", "--timeout", "20", "--json"),
    "lr-range": ("--seeds", "1", "--json"),
}
TRYING_COMMANDS = ("preflight", "lr-range")
ANSWERS = (0, 2, 3, 6)


def answer(command: str, name: str, changes: list[tuple[str, int, str]]) -> int:
    """The exit code of a command given a mutated file."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        file.write_bytes(mutated(TEXTS[name], changes))
        return launch.main([command, str(file), *COMMANDS[command]])


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(sorted(TEXTS)), changes=mutations)
def test_a_mutated_file_is_planned_or_answered_in_lines(
    name: str, changes: list[tuple[str, int, str]]
) -> None:
    assert answer("plan", name, changes) in ANSWERS


@pytest.mark.parametrize("command", TRYING_COMMANDS)
@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(sorted(TEXTS)), changes=mutations)
def test_a_mutated_file_is_tried_or_answered_in_lines(
    command: str, name: str, changes: list[tuple[str, int, str]]
) -> None:
    assert answer(command, name, changes) in ANSWERS


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("command", TRYING_COMMANDS)
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(sorted(TEXTS)), changes=mutations)
def test_many_mutated_files_are_tried_or_answered_in_lines(command: str, name: str, changes: Any) -> None:
    assert answer(command, name, changes) in ANSWERS


def test_more_than_can_be_replayed_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "many.yaml"
    file.write_text(BROKEN.format(data="trainables.data.load_digits", data_config="{}"))
    assert launch.main(["plan", str(file), "--epoch-s", "0.1", "--set", "trials=1000000000"]) == 2
    assert "more than are replayed here" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["plan", "preflight", "lr-range", "check --data", "run", "run --no-preflight"]
)
def test_a_data_function_that_raises_is_a_line_that_names_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("raising.py").write_text("def load():\n    raise KeyError('age')\n")
    Path("broken.yaml").write_text(BROKEN.format(data="raising.load", data_config="{}"))
    args = command.split()
    local = ["--local"] if args[0] == "run" else []
    assert launch.main([args[0], "broken.yaml", *args[1:], *local]) in (2, 3)
    captured = capsys.readouterr()
    output = captured.err + captured.out
    assert "KeyError: 'age'" in output
    assert "raising.py:2" in output.replace("\n", "")
    assert "Traceback" not in output
