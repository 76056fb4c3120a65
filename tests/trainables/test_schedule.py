"""The learning rate, step by step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.trainables.samples import run_of
from trainables.lr_schedule import Schedule
from trainables.run_config import RunError

LR = "torch.optim.lr_scheduler."


def rates(epochs: int = 4, steps: int = 5, losses: list[int] | None = None, **fields: Any) -> list[Any]:
    """The learning rate of every optimizer step, one list per epoch."""
    run = run_of(**({"epochs": epochs, "scheduler_config": {}} | fields))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = Schedule(run, optimizer, steps)
    rates: list[Any] = []
    for epoch in range(epochs):
        rates.append([])
        for _ in range(steps):
            rates[-1].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.after_step()
        schedule.after_epoch(losses[epoch] if losses else 1.0)
    return rates


def test_without_a_scheduler_the_rate_is_constant() -> None:
    assert rates(scheduler=None) == [[1.0] * 5] * 4


def test_a_scheduler_is_stepped_once_an_epoch() -> None:
    by_epoch = rates(scheduler=LR + "ExponentialLR", scheduler_config={"gamma": 0.5})
    assert by_epoch == [[1.0] * 5, [0.5] * 5, [0.25] * 5, [0.125] * 5]


def test_any_scheduler_can_be_stepped_once_a_step() -> None:
    by_step = rates(
        scheduler=LR + "ExponentialLR", scheduler_config={"gamma": 0.5, "interval": "step"}, epochs=1
    )
    assert by_step == [[1.0, 0.5, 0.25, 0.125, 0.0625]]


def test_one_cycle_rises_to_the_optimizers_rate_and_ends_with_the_training() -> None:
    flat = [rate for epoch in rates(scheduler=LR + "OneCycleLR") for rate in epoch]
    assert max(flat) == pytest.approx(1.0)
    assert flat[0] == pytest.approx(1 / 25)
    assert flat[-1] == pytest.approx(1 / 25 / 1e4)


def test_the_length_of_a_cosine_is_filled_in() -> None:
    by_epoch = [epoch[0] for epoch in rates(scheduler=LR + "CosineAnnealingLR")]
    assert by_epoch == pytest.approx([(1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)])


def test_a_plateau_is_judged_by_val_loss() -> None:
    config = {"patience": 0, "factor": 0.1}
    by_epoch = rates(losses=[3, 2, 2, 1], scheduler=LR + "ReduceLROnPlateau", scheduler_config=config)
    assert [epoch[0] for epoch in by_epoch] == pytest.approx([1, 1, 1, 0.1])


@pytest.mark.parametrize(
    ("warmup", "expected"),
    [
        (0, [1, 0.5, 0.25, 0.125]),
        (1, [0.2, 1, 0.5, 0.25]),  # one epoch of five steps, then the schedule from its beginning
        (0.25, [0.2, 1, 0.5, 0.25]),  # a quarter of four epochs
        (2, [0.1, 0.6, 1, 0.5]),
    ],
)
def test_warmup_rises_linearly_before_the_schedule_begins(warmup: float, expected: list[float]) -> None:
    by_epoch = rates(warmup=warmup, scheduler=LR + "ExponentialLR", scheduler_config={"gamma": 0.5})
    assert [epoch[0] for epoch in by_epoch] == pytest.approx(expected)


def test_warmup_of_n_steps_reaches_the_peak_at_the_nth() -> None:
    assert rates(warmup=1, scheduler=None)[0] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize(
    "scheduler", ["ExponentialLR", "OneCycleLR", "ReduceLROnPlateau", "CosineAnnealingLR"]
)
@pytest.mark.parametrize("warmup", [0, 0.3])
def test_a_replayed_schedule_stands_where_the_first_one_stood(scheduler: str, warmup: float) -> None:
    config = {"gamma": 0.9} if scheduler == "ExponentialLR" else {}
    run = run_of(scheduler=LR + scheduler, scheduler_config=config, warmup=warmup, epochs=6)
    pair = []
    for _ in range(2):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
        pair.append((optimizer, Schedule(run, optimizer, 3)))
    losses = [1.0, 2.0, 3.0]
    for loss in losses:
        for _ in range(3):
            pair[0][0].step()
            pair[0][1].after_step()
        pair[0][1].after_epoch(loss)
    pair[1][1].replay(losses)
    first, second = (optimizer.state_dict()["param_groups"] for optimizer, _ in pair)
    assert first == second
    assert pair[0][1].state_dict() == pair[1][1].state_dict()


def test_another_interval_is_an_error() -> None:
    with pytest.raises(RunError, match="'step' or 'epoch', not 'batch'"):
        rates(scheduler=LR + "ExponentialLR", scheduler_config={"interval": "batch"})


def test_a_keyword_that_is_missing_is_named() -> None:
    with pytest.raises(RunError, match="missing a required argument: 'gamma'"):
        rates(scheduler=LR + "ExponentialLR")
