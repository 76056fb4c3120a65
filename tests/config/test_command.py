"""A sweep whose trials are a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from raysweep.config import SweepError, read_sweep
from trainables.run_config import COMMAND_LOOP

SWEEP = """study_name: own
metric: loss
baseline: false
run:
  command: {command}
  train_config: {{layers: 3}}
search_space:
  {search}
"""
LR = "train_config: {lr: {type: float, min: 1.e-3, max: 1.e-1, log: true}}"


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(command: str, search: str = LR) -> Path:
        (tmp_path / "train.py").touch()
        (tmp_path / "own.yaml").write_text(SWEEP.format(command=command, search=search), encoding="utf-8")
        return tmp_path / "own.yaml"

    return write


@pytest.mark.parametrize(
    "command",
    [
        "python train.py --lr {lr} --layers {layers}",
        "python train.py {args}",
        "python train.py",  # it reads RAYSWEEP_CONFIG
        "python -m train {lr}",
        "./train --json {config}",
    ],
)
def test_a_command_that_is_handed_what_is_searched_is_sound(file: Callable[..., Path], command: str) -> None:
    reading = read_sweep(file(command))
    assert reading.sweep.run.train == COMMAND_LOOP
    assert not reading.warnings


@pytest.mark.parametrize(
    ("command", "search", "message"),
    [
        (
            "python train.py --lr {rl}",
            LR,
            ":5: run.command: {rl} is no setting of train_config; did you mean 'lr'?",
        ),
        (
            "python train.py --lr {lr} --n {momentum}",
            LR,
            ":5: run.command: {momentum} is no setting of train_config; "
            "set train_config.momentum, or search it",
        ),
        (
            "python missing.py --lr {lr}",
            LR,
            ":5: run.command: missing.py is neither beside the sweep file nor in the working directory; "
            "correct the path, or add its folder to import_paths",
        ),
        ("python 'train.py", LR, """:5: run.command: No closing quotation in "python 'train.py"; close it"""),
        (
            "python train.py {args}",
            "optimizer_config: {lr: {type: float, min: 1.e-3, max: 1.e-1}}",
            ":8: search_space.optimizer_config.lr: cannot be passed to a command; search train_config.lr",
        ),
        (
            "python train.py\n  train: mine.train",
            LR,
            ":4: run: 'command' and 'train' are both the training; drop one of them",
        ),
    ],
)
def test_what_is_wrong_with_a_command_is_one_line(
    file: Callable[..., Path], command: str, search: str, message: str
) -> None:
    path = file(command, search)
    with pytest.raises(SweepError) as caught:
        read_sweep(path)
    assert str(caught.value) == f"{path}{message}"


def test_a_searched_setting_that_a_command_leaves_out_is_a_warning(file: Callable[..., Path]) -> None:
    path = file("python train.py --layers {layers}")
    assert [str(each) for each in read_sweep(path).warnings] == [
        f"{path}:8: search_space.train_config.lr: is searched, but run.command has no placeholder for it; "
        "write {lr} or {args} in it, or read RAYSWEEP_CONFIG and drop the placeholders"
    ]
