"""Optimizers that keep an average of their weights: what is validated, saved and reported."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import pytorch_optimizer
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from tests.trainables.samples import data_of, numbers, run_of
from trainables import optimizers
from trainables.learner import Learner
from trainables.rng_state import RngState
from trainables.training import Training, train

CPU = torch.device("cpu")
AVERAGING = ["pytorch_optimizer.SPlus", "pytorch_optimizer.ScheduleFreeAdamW"]
BATCH_NORM = {"net_config": {"nodes": 8, "layers": 2, "norm": "batch"}}


class FrozenNorm(nn.Module):
    """A pretrained batch norm whose statistics never change, in any mode of the net."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.norm, self.line = nn.BatchNorm1d(in_features), nn.Linear(in_features, out_features)
        self.norm.running_mean.fill_(0.5)

    def train(self, mode: bool = True) -> FrozenNorm:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.line(self.norm(x))


def trained(**fields: Any) -> tuple[Any, ...]:
    """A learner after its first epoch, and the scores of that epoch."""
    run = run_of(**fields)
    data = data_of(run)
    with RngState(0, CPU).own():
        learner = Learner(run, data, data.parts[0], CPU, 0)
    return learner, learner.epoch()


def loss(net: Any, learner: Learner) -> float:
    """The mean squared error of a net on the validation rows."""
    x, y = (torch.from_numpy(each) for each in (learner.part.val.x, learner.part.val.y))
    with torch.no_grad():
        return float(nn.functional.mse_loss(net.eval()(x), y))


@pytest.mark.parametrize("optimizer", AVERAGING)
def test_the_trained_weights_loss_stands_beside_that_of_their_average(optimizer: str) -> None:
    learner, scores = trained(optimizer=optimizer)
    averaged = copy.deepcopy(learner.net)
    averaged.load_state_dict(learner.weights())
    assert scores.val_loss == pytest.approx(loss(averaged, learner), rel=1e-5)
    assert scores.metrics["val_loss_raw"] == pytest.approx(
        loss(copy.deepcopy(learner.net), learner), rel=1e-5
    )
    assert scores.metrics["val_loss_raw"] != scores.val_loss


def test_an_optimizer_without_an_average_reports_no_second_loss() -> None:
    _, scores = trained(optimizer="torch.optim.AdamW")
    assert set(scores.metrics) == {"r2"}


@pytest.mark.parametrize("batch_size", [7, 32, 179, 500])
@pytest.mark.parametrize("optimizer", AVERAGING)
def test_averaged_weights_are_normalised_by_statistics_of_their_own(optimizer: str, batch_size: int) -> None:
    """As in a plain loop: the average in a net of its own, torch's `update_bn`, then validation."""
    learner, scores = trained(optimizer=optimizer, batch_size=batch_size, **BATCH_NORM)
    statistics = {name: value.clone() for name, value in learner.net.named_buffers()}

    copied = copy.deepcopy(learner.net)
    learner.optimizer.eval()
    with torch.no_grad():
        for mine, value in zip(copied.parameters(), learner.net.parameters(), strict=True):
            mine.copy_(value)
    learner.optimizer.train()
    order = torch.randperm(180, generator=torch.Generator().manual_seed(0))
    batches = torch.from_numpy(learner.part.train.x)[order].split(batch_size)  # type: ignore[no-untyped-call]
    update_bn([batch for batch in batches if len(batch) > 1], copied)

    assert scores.val_loss == pytest.approx(loss(copied, learner), rel=1e-5)
    weights = learner.weights()
    for name, value in copied.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-5, atol=1e-6)
    for name, value in learner.net.named_buffers():
        assert torch.equal(statistics[name], value), "training goes on with its own statistics"


def test_rows_sorted_by_their_inputs_are_drawn_for_the_statistics() -> None:
    """Batches of neighbouring rows would vary little, and the variance would be too small."""
    learner, _ = trained(batch_size=16, **BATCH_NORM)
    order = learner.part.train.x[:, 0].argsort()
    rows = type(learner.part.train)(learner.part.train.x[order], learner.part.train.y[order])
    learner.part = type(learner.part)(rows, learner.part.val)
    inside = next(layer for layer in learner.net.modules() if isinstance(layer, nn.BatchNorm1d))
    inputs_seen = []
    inside.register_forward_pre_hook(lambda _, inputs: inputs_seen.append(inputs[0].detach()))
    with learner._evaluating():
        variance = inside.running_var.clone()
    torch.testing.assert_close(variance, torch.cat(inputs_seen).var(0), rtol=0.3, atol=1e-3)


def test_statistics_that_training_leaves_alone_are_left_alone() -> None:
    learner, _ = trained(net="tests.trainables.test_averages.FrozenNorm", net_config={})
    assert torch.equal(learner.weights()["norm.running_mean"], torch.tensor([0.5]))


@pytest.mark.parametrize("optimizer", AVERAGING)
def test_a_resumed_training_recomputes_the_same_statistics(optimizer: str, tmp_path: Path) -> None:
    """To the last bit, dropout included: the recomputation draws nothing from any generator."""
    run = run_of(optimizer=optimizer, net_config={"nodes": 8, "layers": 2, "norm": "batch", "dropout": 0.2})
    data = data_of(run)
    whole = [numbers(epoch) for epoch in train(run, data)]
    first = Training(run, data)
    before = [numbers(next(first)), numbers(next(first))]
    first.save(tmp_path)
    first.weights()  # asked in between, it changes nothing
    assert before + [numbers(epoch) for epoch in train(run, data, resume=tmp_path)] == whole


def test_parameters_that_no_gradient_reaches_have_no_average() -> None:
    """SPlus.eval() raises KeyError for them."""
    learner, scores = trained(net="tests.trainables.samples.Headless", net_config={})
    assert torch.equal(learner.weights()["unused.weight"], learner.net.unused.weight)
    assert "val_loss_raw" in scores.metrics


def test_the_optimizers_known_to_average_are_those_that_do() -> None:
    averaging = {
        name
        for name, each in vars(pytorch_optimizer).items()
        if inspect.isclass(each) and issubclass(each, torch.optim.Optimizer)
        if hasattr(each, "eval") and hasattr(each, "train")
    }
    assert averaging == optimizers.AVERAGING
