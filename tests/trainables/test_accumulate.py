"""`accumulate: k`: one optimizer step for k batches, as if they were one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.trainables.samples import data_of, run_of
from trainables.training import Training

CLASSES: dict[str, Any] = {
    "data": "tests.trainables.samples.arrays",
    "data_config": {"rows": 300},
    "criterion": "torch.nn.CrossEntropyLoss",
}


def trained(batch_size: int, accumulate: int, **fields: Any) -> Training:
    constant: dict[str, Any] = {"scheduler": None, "scheduler_config": {}}
    run = run_of(batch_size=batch_size, accumulate=accumulate, **constant | fields)
    training = Training(run, data_of(run))
    next(training)
    return training


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "torch.optim.SGD"},
        {"optimizer": "torch.optim.SGD", "grad_clip": 0.1},
        {"optimizer": "torch.optim.AdamW"},
        {
            "optimizer": "torch.optim.SGD",
            "criterion_config": {"reduction": "sum"},
            "optimizer_config": {"lr": 1e-4},
        },
        {"optimizer": "torch.optim.LBFGS", "optimizer_config": {"lr": 0.1, "max_iter": 2}},
        {"optimizer": "torch.optim.SGD", **CLASSES, "criterion_config": {"weight": [1.0, 5.0, 0.2]}},
        {"optimizer": "torch.optim.SGD", **CLASSES, "criterion_config": {"ignore_index": 1}},
    ],
    ids=["mean", "clipped", "adam", "sum", "closure", "weighted", "ignored"],
)
def test_small_batches_together_train_as_the_big_batch_does(fields: dict[str, Any]) -> None:
    """They differ only by rounding: rows come in the same order, whatever the batch size."""
    small, big = (trained(*sizes, **fields) for sizes in ((8, 4), (32, 1)))
    for name, value in small.weights().items():
        assert torch.allclose(value, big.weights()[name], rtol=1e-3, atol=1e-6), name


def test_the_last_step_of_an_epoch_takes_the_batches_that_are_left() -> None:
    learner = trained(8, 3).learners[0]
    batches: list[Any] = [(torch.zeros(1), torch.tensor(i)) for i in range(7)]
    assert [[int(y) for _, y in step] for step in learner.steps_of(batches)] == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 23), (2, 12), (23, 1), (50, 1)])
def test_the_schedule_counts_optimizer_steps(accumulate: int, steps: int) -> None:
    one_cycle = {"scheduler": "torch.optim.lr_scheduler.OneCycleLR", "scheduler_config": {}}
    learner = trained(8, accumulate, **one_cycle).learners[0]
    assert (learner.schedule.steps_per_epoch, learner.schedule.steps) == (steps, steps)
    assert learner.schedule.scheduler.total_steps == 4 * steps
