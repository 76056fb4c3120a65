"""Settings that change during training: a schedule that PBT has found, replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainables.data import load
from trainables.run_config import RunConfig, read
from trainables.training import Training

WORDS: dict[str, Any] = {
    "data": "trainables.data.load_diabetes",
    "net_config": {"nodes": 8, "layers": 1},
    "optimizer": "torch.optim.AdamW",
    "optimizer_config": {"lr": 1e-2},
    "scheduler": None,
    "epochs": 5,
    "batch_size": 64,
}
CHANGES = [
    {"after_epoch": 2, "config": {"optimizer_config.lr": 1e-3}},
    {"after_epoch": 4, "config": {"optimizer_config.lr": 5e-2}},
]


def run_of(*changes: dict[str, Any], lr: float = 1e-2) -> RunConfig:
    return read(WORDS | {"optimizer_config": {"lr": lr}, "schedule": list(changes)})


def curve(training: Training, epochs: int = 9) -> list[tuple[float, float]]:
    return [(epoch.val_loss, epoch.lr) for _, epoch in zip(range(epochs), training, strict=False)]


def test_each_change_acts_from_the_epoch_after_it() -> None:
    run = run_of(*CHANGES)
    assert [lr for _, lr in curve(Training(run, load(run)))] == [1e-2, 1e-2, 1e-3, 1e-3, 5e-2]


def test_a_change_to_the_same_changes_nothing() -> None:
    plain, same = run_of(), run_of({"after_epoch": 3, "config": {"optimizer_config.lr": 1e-2}})
    data = load(plain)
    assert curve(Training(same, data)) == curve(Training(plain, data))


def test_it_is_to_the_last_bit_what_pbt_does_to_a_copy(tmp_path: Path) -> None:
    """A checkpoint of one run, loaded with another's settings, as an exploit does."""
    run = run_of(CHANGES[0])
    data = load(run)
    donor = Training(run_of(), data)
    first = curve(donor, 2)
    donor.save(tmp_path)
    copy = Training(run_of(lr=1e-3), data)
    copy.load(tmp_path)
    assert first + curve(copy) == curve(Training(run, data))


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_interrupted_anywhere_it_goes_on_as_if_it_had_not_been(tmp_path: Path, cut: int) -> None:
    run = run_of(*CHANGES)
    data = load(run)
    whole, before = curve(Training(run, data)), Training(run, data)
    first = [next(before) for _ in range(cut)]
    before.save(tmp_path)
    after = Training(run, data)
    after.load(tmp_path)
    assert [(epoch.val_loss, epoch.lr) for epoch in first] + curve(after) == whole
