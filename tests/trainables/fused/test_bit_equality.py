"""On the CPU, a lane is bit-equal at every step to the trial trained alone, whatever the other lanes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainables.fused.lanes import (
    ADAMW,
    NO_SCHEDULE,
    SGD,
    SPLUS,
    TASKS,
    difference,
    finish_alone,
    lanes_of,
    state_of,
    steps_alone,
)
from tests.trainables.samples import run_of
from trainables.fused import FusedGroup
from trainables.learner import Scores


def compare(runs: list[Any], *, epochs: int = 2) -> None:
    """Train the runs fused and alone, and compare losses and states after every step."""
    fused, alone = lanes_of(runs), lanes_of(runs)
    group = FusedGroup(fused)
    for epoch in range(epochs):
        passes = [steps_alone(lane) for lane in alone]
        for step, _ in enumerate(group.train_steps()):
            own = [next(each) for each in passes]
            for number, (lane, single, record) in enumerate(zip(fused, alone, own, strict=True)):
                where = f"epoch {epoch}, step {step}, lane {number}"
                assert not difference(group.progress(lane).losses, record.losses), where
                assert not difference(group.progress(lane).norms, record.norms), where
                assert not difference(lane.learner.state_dict(), single.learner.state_dict()), where
        assert [next(each, None) for each in passes] == [None] * len(runs)
        scores = [finish_alone(*each) for each in zip(alone, own, strict=True)]
        assert not difference([vars_of(each) for each in group.finish_epoch()], list(map(vars_of, scores)))  # type: ignore[arg-type]
        assert not difference(list(map(state_of, fused)), list(map(state_of, alone)))


def vars_of(scores: Scores) -> list[Any]:
    return [scores.train_loss, scores.val_loss, scores.metrics, scores.lr, scores.grad_norm]


def mixed(task: str, optimizer: Any, **fields: Any) -> list[Any]:
    """Four trials that differ in depth, activation, dropout, norm, clipping and learning rate."""
    nets = [
        {"layers": 1, "activation": "relu"},
        {"layers": 3, "activation": "gelu", "dropout": 0.2},
        {"layers": 2, "activation": "tanh", "dropout": 0.5, "norm": "layer"},
        {"layers": 3, "activation": "gelu", "dropout": 0.1},
    ]
    lr = optimizer["optimizer_config"]["lr"]
    return [
        run_of(
            **TASKS[task]
            | with_rate(optimizer, lr * rate)
            | {"net_config": {"nodes": 16, **net}, "grad_clip": clip}
            | fields
        )
        for net, rate, clip in zip(nets, (1.0, 0.1, 3.0, 0.5), (None, 0.1, 10.0, 0.01), strict=True)
    ]


def with_rate(optimizer: Any, lr: float) -> Any:
    return optimizer | {"optimizer_config": optimizer["optimizer_config"] | {"lr": lr}}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("optimizer", [SPLUS, ADAMW, SGD], ids=["SPlus", "AdamW", "SGD"])
def test_every_step_of_unlike_trials_has_the_bits_of_each_alone(task: str, optimizer: Any) -> None:
    compare(mixed(task, optimizer, batch_size=64), epochs=1)


@pytest.mark.parametrize(
    ("optimizer", "config"),
    [
        ("torch.optim.Adam", {"lr": 0.01, "weight_decay": 0.1}),
        ("torch.optim.AdamW", {"lr": 0.01, "amsgrad": True}),  # no kernel for it: lane by lane
        ("torch.optim.AdamW", {"lr": 0.01, "foreach": True}),
        ("torch.optim.SGD", {"lr": 0.01}),
        ("torch.optim.SGD", {"lr": 0.01, "momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
        ("torch.optim.RMSprop", {"lr": 0.01}),
        ("pytorch_optimizer.SPlus", {"lr": 0.1, "fixed_decay": True, "foreach": False}),
        ("pytorch_optimizer.SPlus", {"lr": 0.1, "weight_decouple": False}),
        ("pytorch_optimizer.SPlus", {"lr": 0.1, "max_dim": 10}),
        ("pytorch_optimizer.Lion", {"lr": 0.001}),
    ],
)
def test_every_optimizer_has_the_bits_of_each_trial_alone(optimizer: str, config: Any) -> None:
    compare(mixed("numbers", {"optimizer": optimizer, "optimizer_config": config} | NO_SCHEDULE), epochs=1)


@pytest.mark.parametrize(
    "fields",
    [
        {"scheduler": "torch.optim.lr_scheduler.OneCycleLR", "scheduler_config": {}},
        {"scheduler": "torch.optim.lr_scheduler.CosineAnnealingLR", "scheduler_config": {}, "warmup": 1.5},
        {"criterion": "torch.nn.HuberLoss"},
        {"criterion": "torch.nn.MSELoss", "criterion_config": {"reduction": "sum"}},
        {"batch_size": 41},  # 90 rows: a last batch of eight
        {"batch_size": 89},  # a last batch of a single row is left out
    ],
)
def test_schedules_criteria_and_batches_have_the_bits_of_each_alone(fields: Any) -> None:
    compare(mixed("numbers", ADAMW, **fields))


def test_class_weights_have_the_bits_of_each_trial_alone() -> None:
    weights = {"criterion_config": {"label_smoothing": 0.1}}
    compare(mixed("classes", ADAMW, **weights, batch_size=128), epochs=1)


def test_a_sequence_of_layers_has_the_bits_of_each_trial_alone() -> None:
    net = {"net": "tests.trainables.fused.lanes.sequential", "net_config": {}}
    compare([run_of(**TASKS["numbers"], **SPLUS, **net), run_of(**TASKS["numbers"], **SPLUS, **net)])  # type: ignore[arg-type]


def test_betas_differ_from_lane_to_lane() -> None:
    settings_of_lanes = [{"betas": (0.9, 0.999), "ema_rate": 0.9}, {"betas": (0.5, 0.9), "ema_rate": 0.5}]
    compare(
        [
            run_of(**TASKS["numbers"], optimizer=SPLUS["optimizer"], optimizer_config={"lr": 0.1, **each})  # type: ignore[arg-type]
            for each in settings_of_lanes
        ]
    )


trial = st.fixed_dictionaries(
    {
        "layers": st.integers(1, 3),
        "activation": st.sampled_from(["relu", "gelu", "silu", "tanh", "elu", "mish", "Softplus"]),
        "dropout": st.sampled_from([0.0, 0.3]),
        "norm": st.sampled_from([None, "layer"]),
    }
)


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(
    trials=st.lists(
        st.tuples(trial, st.floats(1e-4, 1.0), st.sampled_from([None, 0.1])), min_size=2, max_size=5
    ),
    optimizer=st.sampled_from([SPLUS, ADAMW, SGD]),
    nodes=st.sampled_from([1, 5, 16, 64]),
    batch_size=st.integers(8, 90),
)
def test_any_company_leaves_the_bits_of_a_trial_alone(
    trials: Any, optimizer: Any, nodes: int, batch_size: int
) -> None:
    compare(
        [
            run_of(
                **TASKS["numbers"] | with_rate(optimizer, lr),
                net_config={"nodes": nodes, **net},
                grad_clip=clip,
                batch_size=batch_size,
            )
            for net, lr, clip in trials
        ],
        epochs=1,
    )


def test_the_comparison_sees_one_wrong_bit() -> None:
    """The assumption of the tests above."""
    one, other = lanes_of([run_of(**TASKS["numbers"])] * 2), lanes_of([run_of(**TASKS["numbers"])] * 2)  # type: ignore[arg-type]
    assert not difference(list(map(state_of, one)), list(map(state_of, other)))
    weight = next(one[1].learner.net.parameters())
    with torch.no_grad():
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    assert difference(list(map(state_of, one)), list(map(state_of, other))).endswith("weight: 1 numbers")
