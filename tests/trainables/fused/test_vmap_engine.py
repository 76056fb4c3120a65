"""Nets of any kind, by vmap: each lane within float32's rounding of the trial alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.trainables.fused.lanes import ADAMW, SGD, TASKS, epoch_alone, lanes_of
from tests.trainables.samples import run_of
from trainables.fused import FusedGroup

HERE = "tests.trainables.fused.lanes"


@pytest.mark.parametrize(
    ("task", "net", "config"),
    [
        ("numbers", f"{HERE}.Residual", {"width": 8}),
        ("numbers", "tests.trainables.samples.Template", {"nodes": 4}),
        ("numbers", "tests.trainables.samples.HalfFrozen", {}),
        ("classes", f"{HERE}.Convolutional", {}),
        ("labels", f"{HERE}.Residual", {}),
    ],
)
@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=["SGD", "AdamW"])
def test_every_parameter_stays_within_1e_4_of_the_trial_alone(
    task: str,
    net: str,
    config: Any,
    optimizer: Any,
) -> None:
    runs = [
        run_of(
            **TASKS[task]
            | optimizer
            | {"net": net, "net_config": config, "grad_clip": clip, "batch_size": 64}
            | {"optimizer_config": optimizer["optimizer_config"] | {"lr": rate}}
        )
        for rate, clip in ((1e-2, None), (3e-3, 0.1), (1e-3, None))
    ]
    fused, alone = lanes_of(runs), lanes_of(runs)
    group = FusedGroup(fused, exact=False)
    assert group.key.engine == "vmap"
    scores = group.train_epoch()
    expected = [epoch_alone(lane) for lane in alone]
    for lane, single, score, other in zip(fused, alone, scores, expected, strict=True):
        for mine, own in zip(lane.learner.net.parameters(), single.learner.net.parameters(), strict=True):
            torch.testing.assert_close(mine, own, rtol=1e-4, atol=1e-4)
        assert score.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert score.val_loss == pytest.approx(other.val_loss, rel=1e-3)
        assert score.grad_norm == pytest.approx(other.grad_norm, rel=1e-3)


def test_a_chain_has_the_chain_engine_also_where_not_asked_to_be_exact() -> None:
    group = FusedGroup(lanes_of([run_of(**TASKS["numbers"])]), exact=False)  # type: ignore[arg-type]
    assert group.key.engine == "chain"
