"""A sweep that brings a training loop of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raysweep.config import SweepError, read_sweep

SWEEP = """
study_name: own
run:
  data: trainables.data.load_digits
  train: mine.train
  net_config: {anything: 3}
search_space:
  optimizer_config: {lr: {type: float, min: 1.e-3, max: 1.e-1, log: true}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Any]:
    def write(loop: str) -> Path:
        (tmp_path / "mine.py").write_text(loop, encoding="utf-8")
        (tmp_path / "own.yaml").write_text(SWEEP, encoding="utf-8")
        return tmp_path / "own.yaml"

    return write


def test_a_loop_of_the_documented_shape_is_sound_its_configs_its_own(
    file: Callable[..., Any],
) -> None:
    """`net_config.anything` would be unknown to our net, but the loop may use it."""
    assert (
        read_sweep(file("def train(run, data, *, device, seed):\n    yield\n")).sweep.run.train
        == "mine.train"
    )


def test_a_loop_may_ask_for_all_devices_and_the_users_folders(file: Callable[..., Any]) -> None:
    read_sweep(file("def train(run, data, *, device, seed, devices, folders):\n    yield\n"))
    own = read_sweep(file(""), overrides=["run.train=trainables.ddp.DistributedTraining"])
    assert own.sweep.run.train == "trainables.ddp.DistributedTraining"


def test_a_loop_that_needs_more_than_it_is_given_is_named(file: Callable[..., Any]) -> None:
    with pytest.raises(SweepError, match=r"run\.train: .*'budget'"):
        read_sweep(file("def train(run, data, *, device, seed, budget):\n    yield\n"))
