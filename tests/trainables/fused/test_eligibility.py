"""Which learners can be fused with which, and the line that says why one cannot."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trainables.fused.lanes import ADAMW, SPLUS, TASKS, difference, lane_of, state_of
from tests.trainables.samples import run_of
from trainables.fused import fusion_key, fusion_obstacle
from trainables.learner import Learner

HERE = "tests.trainables.fused.lanes"


def learner_of(task: str = "numbers", **fields: Any) -> Learner:
    return lane_of(run_of(**TASKS[task] | fields)).learner  # type: ignore[operator]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"net_config": {"norm": "batch"}}, "stack.1: BatchNorm1d keeps running statistics"),
        ({"precision": "bf16"}, "precision bf16 is not stacked"),
        ({"accumulate": 2}, "its gradients are accumulated over several batches"),
        (
            {
                "optimizer": "torch.optim.LBFGS",
                "optimizer_config": {},
                "scheduler": None,
                "scheduler_config": {},
            },
            "torch.optim.LBFGS computes the loss again within its step",
        ),
        ({"net": f"{HERE}.Residual", "net_config": {}}, "add is not fed by the layer before it alone"),
        (
            {"net": f"{HERE}.Chance", "net_config": {}},
            "its forward draws random numbers or changes attributes of its own",
        ),
        (
            {"net": f"{HERE}.Counting", "net_config": {}},
            "its forward draws random numbers or changes attributes of its own",
        ),
        ({"net": f"{HERE}.Tied", "net_config": {}}, "some of its layers share a parameter"),
        ({"net": f"{HERE}.Hooked", "net_config": {}}, "0 has hooks"),
        (
            {"net": "tests.trainables.samples.HalfFrozen", "net_config": {}},
            "frozen is frozen or not in float32",
        ),
        ({"net": "tests.trainables.samples.Template", "net_config": {"nodes": 4}}, "squeeze is not a layer"),
    ],
)
def test_the_chain_engine_says_in_one_line_what_it_cannot_do(fields: Any, reason: str) -> None:
    assert fusion_obstacle(learner_of(**fields)) == reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"net_config": {"norm": "batch"}}, "stack.1: BatchNorm1d keeps running statistics"),
        (
            {"net": f"{HERE}.Chance", "net_config": {}},
            "its forward draws random numbers, and vmap has one generator for all lanes",
        ),
        ({"net": f"{HERE}.Unused", "net_config": {}}, "no gradient reaches unused.weight"),
    ],
)
def test_the_vmap_engine_says_in_one_line_what_it_cannot_do(fields: Any, reason: str) -> None:
    assert fusion_obstacle(learner_of(**fields), exact=False) == reason


def test_a_chain_may_have_a_layer_that_nothing_goes_through() -> None:
    assert fusion_obstacle(learner_of(net="tests.trainables.samples.Headless", net_config={})) == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"net_config": {"nodes": 8, "layers": 5}},
        {"net_config": {"nodes": 8, "activation": "gelu", "dropout": 0.2, "norm": "layer"}},
        {"optimizer_config": {"lr": 0.3, "weight_decay": 0.5}},
        {"scheduler": None, "scheduler_config": {}},
        {"grad_clip": 1.0},
    ],
)
def test_what_may_differ_within_a_group(fields: Any) -> None:
    assert fusion_key(learner_of(**fields)) == fusion_key(learner_of())


@pytest.mark.parametrize(
    "fields",
    [
        ADAMW,
        {"batch_size": 31},
        {"data_config": {"rows": 120}},
        {"criterion": "torch.nn.HuberLoss"},
        {"net_config": {"nodes": 9}},
    ],
)
def test_what_must_be_equal_within_a_group(fields: Any) -> None:
    assert fusion_key(learner_of(**fields)) != fusion_key(learner_of())


@pytest.mark.parametrize("exact", [True, False])
def test_asking_for_the_key_changes_nothing_about_a_learner(exact: bool) -> None:
    asked, untouched = (
        lane_of(run_of(**TASKS["numbers"] | SPLUS, net=f"{HERE}.Residual", net_config={}))  # type: ignore[operator]
        for _ in range(2)
    )
    fusion_obstacle(asked.learner, exact=exact)
    assert not difference(state_of(asked), state_of(untouched))
    assert asked.learner.net.training
    assert all(parameter.grad is None for parameter in asked.learner.net.parameters())
