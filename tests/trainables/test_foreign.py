"""A custom training loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainables.samples import data_of, numbers, run_of
from trainables.custom_loop import CustomLoop
from trainables.run_config import RunError


def loop_of(name: str) -> CustomLoop:
    run = run_of(train=f"tests.trainables.samples.{name}")
    return CustomLoop(run, data_of(run), device="cpu", seed=5)


def test_its_epochs_are_yielded_up_to_the_number_asked_for() -> None:
    loop = loop_of("counting")
    assert [epoch.number for epoch in loop] == [1, 2, 3, 4]
    assert loop.ended == "finished all 4 epochs"


def test_a_loop_that_ends_by_itself_says_so() -> None:
    loop = loop_of("short")
    assert len(list(loop)) == 1
    assert loop.ended == "tests.trainables.samples.short ended by itself after epoch 1"


@pytest.mark.parametrize("name", ["counting", "Keeping"])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_loop_cut_at_any_epoch_goes_on_as_if_it_had_not_been(name: str, cut: int, tmp_path: Path) -> None:
    """With save and load of its own, or run again up to that epoch."""
    whole = [numbers(epoch) for epoch in loop_of(name)]
    first = loop_of(name)
    for _ in range(cut):
        next(first)
    first.save(tmp_path)
    torch.rand(3)
    second = loop_of(name)
    second.load(tmp_path)
    assert [numbers(epoch) for epoch in second] == whole[cut:]


def test_its_own_load_is_called_where_there_is_one(tmp_path: Path) -> None:
    first = loop_of("Keeping")
    next(first)
    first.save(tmp_path)
    second = loop_of("Keeping")
    second.load(tmp_path)
    assert second.loop.loaded


def test_a_loop_that_yields_no_epoch_is_an_error() -> None:
    with pytest.raises(RunError, match=r"yields dict; it should yield trainables\.training\.Epoch"):
        next(loop_of("wrong"))


@pytest.mark.parametrize(
    ("epochs", "came", "due"),
    [([1, 5], 5, 2), ([1, 2, 2], 2, 3), ([1, 1], 1, 2), ([0], 0, 1), ([1, 2.0], 2.0, 2), ([True], True, 1)],
)
def test_an_epoch_that_is_not_the_one_due_is_an_error(epochs: Any, came: bool | float, due: int) -> None:
    run = run_of(train="tests.trainables.samples.counted", net_config={"numbers": epochs})
    with pytest.raises(RunError) as caught:
        list(CustomLoop(run, data_of(run), device="cpu", seed=5))
    assert str(caught.value) == (
        f"train: tests.trainables.samples.counted yields epoch {came!r} where {due} was due; yield one Epoch "
        "for each pass over the data, numbered 1, 2, 3, ... (after `load` from where it was saved on)"
    )


def test_a_loop_that_counts_from_1_again_after_load_is_an_error(tmp_path: Path) -> None:
    first, second = loop_of("Beginning"), loop_of("Beginning")
    next(first)
    next(first)
    first.save(tmp_path)
    second.load(tmp_path)
    with pytest.raises(RunError, match="yields epoch 1 where 3 was due"):
        next(second)
