"""A range test, in which the learning rate rises, and what its curve does not depend on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from trainables.data import Data, load
from trainables.lr_range import rate_test
from trainables.run_config import RunConfig, RunError

RATES = list(np.geomspace(1e-4, 1e-1, 30))


def digits(**fields: Any) -> RunConfig:
    own = {
        "data": "trainables.data.load_digits",
        "optimizer": "torch.optim.AdamW",
        "scheduler": None,
        "criterion": "torch.nn.CrossEntropyLoss",
        "net_config": {"nodes": 16, "layers": 1},
    }
    return RunConfig(**(own | fields))


@pytest.fixture(scope="module")
def data() -> Data:
    return load(digits())


def test_a_seed_gives_one_curve(data: Data) -> None:
    first, again, other = (rate_test(digits(), data, RATES, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == len(RATES)


def test_the_callers_generator_and_threads_are_left_alone(data: Data) -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    rate_test(digits(), data, RATES)
    assert torch.equal(before, torch.get_rng_state())
    assert threads == torch.get_num_threads()


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer_config": {"lr": 0.5}},
        {"warmup": 3},
        {"scheduler": "torch.optim.lr_scheduler.CosineAnnealingLR"},
        {"epochs": 1},
    ],
)
def test_the_files_own_rate_schedule_and_length_have_no_say(fields: dict[str, Any], data: Data) -> None:
    assert rate_test(digits(**fields), data, RATES) == rate_test(digits(), data, RATES)


def test_a_rate_that_moves_nothing_moves_no_loss(data: Data) -> None:
    """Neither the drawn batch nor the drawn dropout adds noise to the curve."""
    run = digits(net_config={"nodes": 16, "layers": 2, "dropout": 0.5}, optimizer_config={"weight_decay": 0})
    assert len(set(rate_test(run, data, [1e-30] * 5))) == 1


def test_there_may_be_more_rates_than_batches(data: Data) -> None:
    """Rows are used again."""
    assert len(rate_test(digits(batch_size=1024), data, RATES)) == len(RATES)


def test_a_divergence_ends_the_curve(data: Data) -> None:
    run = digits(optimizer="torch.optim.SGD", optimizer_config={"momentum": 0.9})
    curve = rate_test(run, data, [1e-2, 1e30, 1e30, 1e30, 1e30])
    assert len(curve) < 5
    assert all(map(math.isfinite, curve))


@pytest.mark.parametrize("optimizer", ["SPlus", "ScheduleFreeAdamW"])
def test_the_weights_that_are_trained_answer_and_not_their_average(optimizer: str, data: Data) -> None:
    """An average over hundreds of steps would still be close to the initial weights."""
    run = digits(optimizer=f"pytorch_optimizer.{optimizer}")
    curve = rate_test(run, data, [0.1] * 40)
    assert min(curve) < 0.8 * curve[0]


def test_a_loop_of_the_users_own_cannot_be_tested(data: Data) -> None:
    with pytest.raises(RunError, match="is a loop of its own"):
        rate_test(digits(train="my.loop"), data, RATES)
