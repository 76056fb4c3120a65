"""Lanes for the tests of fused training, and the same trials trained alone."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from tests.trainables.samples import run_of
from trainables.data import Data, load, subsample
from trainables.fused import Lane
from trainables.fused.lane_stack import LaneEpoch
from trainables.learner import Learner, Scores
from trainables.rng_state import RngState
from trainables.run_config import RunConfig

CPU = torch.device("cpu")

TASKS = {
    "numbers": {"data_config": {"rows": 150}, "criterion": "torch.nn.MSELoss"},
    "classes": {
        "data": "trainables.data.load_digits",
        "data_config": {},
        "data_fraction": 0.2,
        "criterion": "torch.nn.CrossEntropyLoss",
    },
    "labels": {
        "data": "trainables.data.load_breast_cancer",
        "data_config": {},
        "criterion": "torch.nn.BCEWithLogitsLoss",
    },
}

NO_SCHEDULE: dict[Any, Any] = {"scheduler": None, "scheduler_config": {}}
SPLUS = {"optimizer": "pytorch_optimizer.SPlus", "optimizer_config": {"lr": 0.1, "inverse_steps": 3}}
ADAMW = {"optimizer": "torch.optim.AdamW", "optimizer_config": {"lr": 0.01}}
SGD = {"optimizer": "torch.optim.SGD", "optimizer_config": {"lr": 0.02, "momentum": 0.9}} | NO_SCHEDULE


@functools.cache
def _data(run_json: str) -> Data:
    run = RunConfig.model_validate_json(run_json)
    return subsample(load(run), run)


def data_for(run: RunConfig) -> Data:
    """The data of a run; the same object for all runs with the same data."""
    fields = run.model_dump(include={"data", "data_config", "data_fraction", "criterion", "criterion_config"})
    return _data(run_of(**fields).model_dump_json())


def lane_of(run: RunConfig, seed: int = 0) -> Lane:
    """A new trial."""
    data = data_for(run)
    random = RngState(seed, CPU)
    with random.own():
        return Lane(Learner(run, data, data.parts[0], CPU, seed), random)


def lanes_of(runs: list[Any]) -> list[Any]:
    return [lane_of(run, seed) for seed, run in enumerate(runs)]


def epoch_alone(lane: Lane) -> Scores:
    with lane.random.own():
        return lane.learner.epoch()


def steps_alone(lane: Lane) -> Iterator[LaneEpoch]:
    """The steps of an epoch as a trial takes them alone."""
    epoch = LaneEpoch()
    lane.learner.net.train()
    for step, (x, y) in enumerate(lane.learner.feed.batches()):
        with lane.random.own():
            (loss,), norm, epoch.lr = lane.learner.take_step([(x, y)], step)
        epoch.losses.append(loss)
        if norm is not None:
            epoch.norms.append(norm)
        yield epoch


def finish_alone(lane: Lane, epoch: LaneEpoch) -> Scores:
    learner = lane.learner
    with lane.random.own():
        loss = learner.mean_loss(torch.stack(epoch.losses), learner.feed.sizes)
        return learner.finish_epoch(loss, torch.stack(epoch.norms).mean(), epoch.lr)


def state_of(lane: Lane) -> dict:  # type: ignore[type-arg]
    """All that the next epoch depends on."""
    return {"learner": lane.learner.state_dict(), "random": lane.random.state_dict()}


def difference(one: Any, other: Any, where: str = "") -> str:
    """The first difference of two states in any bit; empty if there is none. NaN equals NaN."""
    if isinstance(one, torch.Tensor):
        if one.shape != other.shape or one.dtype != other.dtype:
            return f"{where}: {one.shape} {one.dtype}, {other.shape} {other.dtype}"
        same = (one == other) | (one != one) & (other != other)
        return "" if bool(same.all()) else f"{where}: {int((~same).sum())} numbers"
    if isinstance(one, Mapping):
        if one.keys() != other.keys():
            return f"{where}: {sorted(map(str, one))}, {sorted(map(str, other))}"
        return next(filter(None, (difference(one[key], other[key], f"{where}.{key}") for key in one)), "")
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return f"{where}: {len(one)} and {len(other)} entries"
        pairs = enumerate(zip(one, other, strict=True))
        return next(filter(None, (difference(a, b, f"{where}[{n}]") for n, (a, b) in pairs)), "")
    same = one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))
    return "" if same else f"{where}: {one!r}, {other!r}"


class TouchyLoss(nn.Module):
    """Raises where the outputs are large."""

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if bool(outputs.abs().max() > 50):
            raise ValueError("outputs beyond 50")
        return ((outputs - targets) ** 2).mean()


class TouchySGD(torch.optim.SGD):
    """Raises where the learning rate is above 1."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if self.param_groups[0]["lr"] > 1:
            raise ArithmeticError("rate above 1")
        return super().step(closure)


class Residual(nn.Module):
    """No chain: its input skips a layer."""

    def __init__(self, in_features: int, out_features: int, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Linear(in_features, width)
        self.middle = nn.Linear(width, width)
        self.last = nn.Linear(width, out_features)

    def forward(self, x: Any) -> Any:
        x = torch.tanh(self.first(x))
        return self.last(x + torch.tanh(self.middle(x)))


class Unused(Residual):
    """Has an unused layer."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.unused = nn.Linear(3, 3)


class Convolutional(nn.Module):
    """Digits as images, normalised by groups of channels."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(4 * 36, out_features)

    def forward(self, x: Any) -> Any:
        return self.head(self.layers(x.reshape(-1, 1, 8, 8)))


class Chance(nn.Module):
    """Leaves its second layer out in half of the calls."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.first = nn.Linear(in_features, out_features)
        self.second = nn.Linear(out_features, out_features)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        return self.second(x) if torch.rand(()) < 0.5 else x


class Counting(nn.Module):
    """Counts its calls."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return self.layer(x)


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_features, 4), nn.Linear(4, 4), nn.Linear(4, 4))
        self.layers[2].weight = self.layers[1].weight
        self.head = nn.Linear(4, out_features)

    def forward(self, x: Any) -> Any:
        return self.head(self.layers(x))


class Hooked(nn.Sequential):
    """Has a hook that a trace would not see."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(nn.Linear(in_features, 4), nn.Tanh(), nn.Linear(4, out_features))
        self[0].register_forward_hook(_doubled)


def _doubled(module: Any, inputs: Any, output: Any) -> Any:
    return 2 * output


def sequential(in_features: int, out_features: int) -> Any:
    """Unequal widths, an activation with a setting, one without a kernel here, a layer without bias."""
    return nn.Sequential(
        nn.Dropout(0.1),
        nn.Linear(in_features, 12),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Linear(12, 7, bias=False),
        nn.LayerNorm(7),
        nn.Softplus(),
        nn.Identity(),
        nn.Linear(7, out_features),
    )
