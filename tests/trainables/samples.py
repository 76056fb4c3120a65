"""Nets, losses, data and loops as users write them, named by dotted path in the tests."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import TensorDataset

from trainables.data import Data, load
from trainables.run_config import RunConfig
from trainables.training import Epoch

BASE = {
    "data": "trainables.data.load_synthetic",
    "data_config": {"rows": 300},
    "epochs": 4,
    "batch_size": 32,
    "net_config": {"nodes": 8, "layers": 2},
    "optimizer_config": {"lr": 0.05},
    "scheduler_config": {"upper_bound": 50, "min_lr": 1e-6},
}

OPTIMIZERS = {
    "SPlus": {"optimizer": "pytorch_optimizer.SPlus", "optimizer_config": {"lr": 0.1}},
    "AdamW": {"optimizer": "torch.optim.AdamW", "optimizer_config": {"lr": 0.01}},
    "SGD": {"optimizer": "torch.optim.SGD", "optimizer_config": {"lr": 0.02, "momentum": 0.9}},
}

SCHEDULES = {
    "none": {"scheduler": None, "scheduler_config": {}},
    "exp_hyperbolic": {},
    "one_cycle": {"scheduler": "torch.optim.lr_scheduler.OneCycleLR", "scheduler_config": {}},
    "cosine": {"scheduler": "torch.optim.lr_scheduler.CosineAnnealingLR", "scheduler_config": {}},
    "plateau": {
        "scheduler": "torch.optim.lr_scheduler.ReduceLROnPlateau",
        "scheduler_config": {"patience": 0, "threshold": 0.5},
    },
}


def run_of(**fields: Any) -> RunConfig:
    """A small run config, with these fields changed."""
    return RunConfig(**(BASE | fields))


def data_of(run: RunConfig) -> Data:
    return load(run)


def numbers(
    epoch: Epoch,
) -> Any:
    """All fields of an epoch except its wall time, bit by bit."""
    return (epoch.number, epoch.train_loss, epoch.val_loss, epoch.metrics, epoch.lr, epoch.grad_norm)


class Plain(nn.Module):
    """A user's net with torch's names for its sizes."""

    def __init__(self, input_size: int, output_size: int, width: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(input_size, width), nn.Tanh(), nn.Linear(width, output_size))

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class Template(nn.Module):
    """The template's style: hparams and device."""

    def __init__(self, hparams: dict[str, Any], device: Any = "cpu") -> None:
        super().__init__()
        self.device = device
        self.line = nn.Linear(hparams["in_features"], hparams["nodes"])
        self.out = nn.Linear(hparams["nodes"], 1)

    def forward(self, x: Any) -> Any:
        return self.out(torch.relu(self.line(x))).squeeze(-1)  # (n,), where targets are (n, 1)


class Noisy(nn.Module):
    """Draws from every global generator, as users' nets do."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.line = nn.Linear(in_features, out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        noise = random.random() + np.random.random()  # noqa: NPY002 - that is the point
        return self.line(x) + 0.01 * noise * torch.rand_like(x[:, :1])


class Failing(nn.Linear):
    """Raises in its forward pass."""

    def forward(self, x: torch.Tensor) -> None:  # type: ignore[override]
        raise KeyError("no such feature")


class Hungry(nn.Linear):
    """Asks for more memory than there is."""

    def forward(self, x: torch.Tensor) -> None:  # type: ignore[override]
        raise MemoryError("out of everything")


def mae(prediction: NDArray[Any], target: NDArray[Any]) -> float:
    """Mean absolute error in the target's own units."""
    return float(np.abs(prediction - target).mean())


def constant_init(tensor: Any) -> None:
    with torch.no_grad():
        tensor.fill_(0.125)


def arrays(rows: int = 100, classes: int = 3) -> tuple[Any, ...]:
    """Features and classes."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 4)), rng.integers(0, classes, rows)


def two_datasets() -> tuple[Any, ...]:
    """As in the template: (train, val)."""
    x = torch.linspace(0, 1, 60)[:, None]
    return TensorDataset(x[:40], x[:40] ** 2), TensorDataset(x[40:], x[40:] ** 2)


def three_datasets() -> tuple[Any, ...]:
    x = torch.linspace(0, 1, 60)[:, None]
    return tuple(TensorDataset(x[i : i + 20], x[i : i + 20] ** 2) for i in (0, 20, 40))


def nonsense() -> str:
    return "data"


def counting(run: RunConfig, data: Data, *, device: torch.device, seed: int) -> Iterator[Any]:
    """A custom loop without checkpoints that draws from the global generator."""
    for number in range(1, 100):
        loss = float(torch.rand(())) / number
        yield Epoch(number, loss, loss, {"luck": loss})


def short(run: RunConfig, data: Data, *, device: torch.device, seed: int) -> Iterator[Any]:
    """A loop that ends by itself."""
    yield Epoch(1, 1.0, 1.0)


def second_epoch(run: Any, data: Any, *, device: Any, seed: Any) -> Iterator[Any]:
    """A loop in whose second epoch something happens."""
    kind = run.net_config["kind"]
    for number in range(1, run.epochs + 1):
        there = number == 2
        if there and kind == "ends":
            return
        if there and kind == "fails":
            raise KeyError("no such feature")
        loss = math.nan if there and kind == "diverges" else 1.0
        yield Epoch(number, loss, loss, {"auc": math.nan if there else 0.5})


def wrong(run: RunConfig, data: Data, *, device: torch.device, seed: int) -> Iterator[Any]:
    """A loop that yields something else."""
    yield {"val_loss": 1.0}


def odd(run: RunConfig, data: Data, *, device: torch.device, seed: int) -> Iterator[Any]:
    """A loop whose second epoch has `net_config.loss` for its val_loss; 1 MB goes to the terminal before."""
    kinds = {"none": None, "tensor": torch.tensor(0.5), "pair": torch.ones(2), "text": "0.5"}
    kinds |= {"nan": math.nan, "inf": math.inf, "array": np.array([0.5]), "number": 0.5}  # type: ignore[dict-item]
    yield Epoch(1, 1.0, 1.0)
    sys.stdout.write("x" * 2**20)
    sys.stderr.write("x" * 2**20)
    yield Epoch(2, 1.0, kinds[run.net_config["loss"]])  # type: ignore[arg-type]


def counted(run: RunConfig, data: Data, *, device: torch.device, seed: int) -> Iterator[Any]:
    """A loop that numbers its epochs as `net_config.numbers` says."""
    for number in run.net_config["numbers"]:
        yield Epoch(number, 1.0, 1.0)


def naming(run: RunConfig, data: Data, *, device: torch.device, seed: int) -> Iterator[Any]:
    """A loop whose metric has the name that `net_config.name` says."""
    yield Epoch(1, 1.0, 1.0, {run.net_config["name"]: 3.0})


class Beginning:
    """A loop that saves and loads, and counts from 1 again after it was loaded."""

    def __init__(self, run: RunConfig, data: Data, *, device: torch.device, seed: int) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        for number in range(1, 9):
            yield Epoch(number, 1.0, 1.0)

    def save(self, directory: str) -> None:
        pass

    def load(self, directory: str) -> None:
        pass


class Keeping:
    """A loop that saves and loads."""

    def __init__(self, run: Any, data: Any, *, device: Any, seed: Any) -> None:
        self.number = 0
        self.loaded = False

    def __iter__(self) -> Iterator[Any]:
        while True:
            self.number += 1
            yield Epoch(self.number, 1 / self.number, 1 / self.number)

    def save(self, directory: str) -> None:
        (Path(directory) / "mine.json").write_text(json.dumps(self.number))

    def load(self, directory: str) -> None:
        self.number = json.loads((Path(directory) / "mine.json").read_text())
        self.loaded = True


class TwoOutputs(Plain):
    """Returns its outputs and its inputs."""

    def forward(self, x: Any) -> Any:
        return self.layers(x), x


class TwoClasses(Plain):
    """Has two outputs, whatever the data."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, 2)


class HalfFrozen(nn.Module):
    """A frozen layer below a trained one, as in fine-tuning."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.frozen = nn.Linear(in_features, 4).requires_grad_(False)
        self.head = nn.Linear(4, out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.frozen(x))


class Headless(Plain):
    """Has an unused layer."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.unused = nn.Linear(3, 3)


class Detached(Plain):
    """Detaches its outputs from its parameters."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).detach()


class Overflowing(nn.Module):
    """Its outputs are squared to infinity by a criterion."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)

    def forward(self, x: torch.Tensor) -> Any:
        return 1e30 * self.layer(x)


class Quitting(nn.Linear):
    """Tries to end the process."""

    def forward(self, x: torch.Tensor) -> None:  # type: ignore[override]
        raise SystemExit(3)


class Greedy(nn.Linear):
    """Allocates `share` of all memory of the GPU in its forward pass; on the CPU, more than there is."""

    def __init__(self, in_features: int, out_features: int, share: float = 0.02) -> None:
        super().__init__(in_features, out_features)
        self.share = share

    def forward(self, x: torch.Tensor) -> Any:
        total = torch.cuda.get_device_properties(x.device).total_memory if x.is_cuda else 2**55
        return (
            super().forward(x) + torch.empty(int(self.share * total), dtype=torch.uint8, device=x.device)[0]
        )


class _Broken(torch.autograd.Function):
    """Its gradient cannot be computed."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Any) -> None:
        raise RuntimeError("no gradient here")


class BadBackward(nn.Module):
    """A criterion that fails in the backward pass."""

    def forward(self, outputs: Any, targets: Any) -> Any:
        return _Broken.apply((outputs - targets).square().mean())  # type: ignore[no-untyped-call]
