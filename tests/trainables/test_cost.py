"""The costs of a net, in every result of its trial."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.trainables.samples import BASE, data_of, run_of
from trainables import net_cost
from trainables.data import subsample
from trainables.net_cost import measure
from trainables.run_config import COSTS, RunError, read
from trainables.tune import TorchTrainable

CPU = torch.device("cpu")
SAMPLES = "tests.trainables.samples."


def measured(names: tuple[Any, ...], net: Any, row: torch.Tensor) -> dict[str, Any]:
    net.eval()
    with torch.no_grad():
        return measure(names, net, lambda: net(row), CPU)


def trainable(**fields: Any) -> TorchTrainable:
    made = TorchTrainable.__new__(TorchTrainable)
    made.setup(BASE | {"trial": {"seed": 3}, "costs": ["parameters", "flops"]} | fields, None)
    return made


def costs_of(result: Any) -> Any:
    return {name: result[name] for name in COSTS if name in result}


@pytest.mark.parametrize(
    ("net", "row", "parameters", "flops"),
    [
        (nn.Linear(3, 5), (1, 3), 20, 2 * 3 * 5),  # a bias is a parameter; adding it is no product
        (nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1)), (1, 3), 26, 2 * (3 * 5 + 5)),
        (nn.Conv2d(1, 4, 3), (1, 1, 8, 8), 40, 2 * 4 * 9 * 6 * 6),
        (nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5)), (1, 3), 30, 30),  # running means are none
    ],
)
def test_parameters_are_counted_and_a_multiply_add_is_two_flops(
    net: Any, row: Any, parameters: int, flops: int
) -> None:
    costs = measured(("parameters", "flops"), net, torch.zeros(row))
    assert costs == {"parameters": parameters, "flops": flops}


def test_a_frozen_parameter_is_a_parameter_but_not_a_trainable_one() -> None:
    net = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 1))
    net[0].requires_grad_(False)
    costs = measured(("parameters", "trainable_parameters"), net, torch.zeros(1, 3))
    assert costs == {"parameters": 26, "trainable_parameters": 6}


def test_latency_is_the_median_of_the_passes_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fake clock: every pass takes 2 ms, but one in ten takes a second."""
    now, passes = [0.0], [0]

    def answer() -> None:
        passes[0] += 1
        now[0] += 1.0 if passes[0] % 10 == 0 else 0.002

    monkeypatch.setattr(net_cost.time, "perf_counter", lambda: now[0])  # type: ignore[attr-defined]
    assert measure(["latency_ms"], nn.Identity(), answer, CPU)["latency_ms"] == pytest.approx(2.0)


def test_a_slow_net_is_timed_for_a_second_not_a_hundred_times(monkeypatch: pytest.MonkeyPatch) -> None:
    now, passes = [0.0], [0]

    def answer() -> None:
        passes[0] += 1
        now[0] += 0.3

    monkeypatch.setattr(net_cost.time, "perf_counter", lambda: now[0])  # type: ignore[attr-defined]
    assert measure(["latency_ms"], nn.Identity(), answer, CPU)["latency_ms"] == pytest.approx(300)
    assert passes[0] == net_cost.WARM_UP + 4


def test_results_hold_the_costs_asked_for_at_every_epoch_and_no_others() -> None:
    made = trainable()
    one, two = made.step(), made.step()
    # 1-8-8-1: weights and biases; two flops a weight
    assert costs_of(one) == costs_of(two) == {"parameters": 97.0, "flops": 160.0}


def test_a_reused_actor_shows_the_costs_of_its_present_trial() -> None:
    made = trainable(net_config={"nodes": 32, "layers": 3})
    made.reset_config(BASE | {"trial": {"seed": 3}, "costs": ["parameters", "flops"]})
    assert costs_of(made.step()) == {"parameters": 97.0, "flops": 160.0}
    made.reset_config(BASE | {"trial": {"seed": 3}})
    assert costs_of(made.step()) == {}


def test_a_restored_trial_shows_them_too(tmp_path: Path) -> None:
    first = trainable()
    before = first.step()
    first.save_checkpoint(str(tmp_path))
    second = trainable()
    second.load_checkpoint(str(tmp_path))
    assert costs_of(second.step()) == costs_of(before)


def test_measuring_changes_nothing_of_the_training() -> None:
    """With dropout, whose masks come from the generator that every pass could draw from."""
    fields = {"net_config": {"nodes": 8, "dropout": 0.5, "norm": "batch"}}
    losses = [
        [made.step()["val_loss"] for _ in range(3)]
        for made in (trainable(**fields, costs=list(COSTS)), trainable(**fields, costs=[]))
    ]
    assert losses[0] == losses[1]


def test_with_folds_the_cost_is_of_one_net() -> None:
    data_config = BASE["data_config"] | {"folds": 3}  # type: ignore[operator]
    assert trainable(data_config=data_config).step()["parameters"] == 97


def test_a_trial_that_cannot_be_built_has_no_number_for_its_costs() -> None:
    result = trainable(net="no.such.Net").step()
    assert all(math.isnan(value) for value in costs_of(result).values())
    assert set(costs_of(result)) == {"parameters", "flops"}


def test_a_net_that_fails_when_asked_is_the_trials_outcome() -> None:
    assert trainable(net=SAMPLES + "Hungry", net_config={}).step()["outcome"] == "oom"


def test_a_loop_of_the_users_names_its_own_costs() -> None:
    result = trainable(train=SAMPLES + "short").step()
    assert math.isnan(result["parameters"])


def test_a_cost_of_another_name_is_an_error_with_the_names_there_are() -> None:
    with pytest.raises(RunError, match=r"run\.costs\.0: .*'parameters', 'trainable_parameters', 'flops'"):
        read({"data": "x.y", "costs": ["size"]})


def test_on_a_gpu_every_pass_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its work is only queued when the call returns; without waiting, only the queueing would be timed."""
    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("done"))
    measure(["latency_ms"], nn.Identity(), lambda: calls.append("asked"), torch.device("cuda"))
    assert calls[net_cost.WARM_UP :] == ["done", *["asked", "done"] * net_cost.PASSES]


shares = st.floats(0.01, 1)
WHOLE = data_of(run_of())


@given(shares, shares, st.integers(0, 5))
def test_a_larger_share_of_the_rows_holds_every_row_of_a_smaller_one(
    one: float, other: float, split_seed: int
) -> None:
    run = run_of(data_config={"rows": 300, "split_seed": split_seed})
    small, large = (
        {row.tobytes() for row in subsample(WHOLE, run.model_copy(update={"data_fraction": share})).x_train}
        for share in sorted((one, other))
    )
    assert small <= large <= {row.tobytes() for row in WHOLE.x_train}


def test_data_fraction_leaves_the_validation_rows_alone() -> None:
    run = run_of(data_fraction=0.25)
    whole = data_of(run)
    less = subsample(whole, run)
    assert len(less.x_train) == round(0.25 * len(whole.x_train))
    assert np.array_equal(less.x_val, whole.x_val)


def test_every_fold_is_thinned() -> None:
    run = run_of(data_fraction=0.5, data_config={"rows": 300, "folds": 3})
    whole = data_of(run)
    shares = [
        len(less.train.x) / len(part.train.x)
        for part, less in zip(whole.parts, subsample(whole, run).parts, strict=True)
    ]
    assert shares == pytest.approx([0.5] * 3, abs=0.01)


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5])
def test_a_share_outside_of_0_to_1_is_an_error(fraction: float) -> None:
    with pytest.raises(RunError, match=r"run\.data_fraction"):
        read({"data": "x.y", "data_fraction": fraction})


def test_a_trial_trains_on_its_share_of_the_data_it_was_given() -> None:
    made = TorchTrainable.__new__(TorchTrainable)
    made.setup(BASE | {"trial": {"seed": 3}, "data_fraction": 0.5}, data_of(run_of()))
    made.step()
    assert len(made.trial.training.learners[0].part.train.x) == 90  # of 180
