"""Plain torch with augmentation: every epoch draws the shifts of its digits anew.

`train` is a generator of its `config`: `run: {train: augmentation.train}` in a sweep file.
"""

from collections.abc import Iterator
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, TensorDataset


class ShiftedDigits(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Digits of 8x8 pixels, each moved by up to `shift` of them, another way each time it is read."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, shift: int) -> None:
        self.images, self.labels, self.shift = images, labels, shift

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        down, right = torch.randint(-self.shift, self.shift + 1, (2,)).tolist()
        return self.images[row].roll((down, right), dims=(-2, -1)), self.labels[row]


def train(config: dict[str, Any], state: dict[str, Any] | None = None) -> Iterator[Any]:
    """Train a small convolutional net; each epoch yields its metrics and what it can go on from."""
    images, labels = load_digits(return_X_y=True)
    x = torch.as_tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.as_tensor(labels)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    training = DataLoader(ShiftedDigits(x[:1400], y[:1400], config["shift"]), batch_size=64, shuffle=True)
    validation = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=256)
    net = nn.Sequential(
        nn.Conv2d(1, config["channels"], 3, padding=1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)
    ).to(device)
    net(x[:1].to(device))  # the lazy layer learns its size before the optimizer asks for its weights
    optimizer = torch.optim.AdamW(net.parameters(), lr=config["lr"])
    if state is not None:
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])

    while True:
        net.train()
        for batch, target in training:
            optimizer.zero_grad()
            cross_entropy(net(batch.to(device)), target.to(device)).backward()
            optimizer.step()

        net.eval()
        with torch.no_grad():
            scores = torch.cat([net(batch.to(device)).cpu() for batch, _ in validation])
        metrics = {
            "val_loss": cross_entropy(scores, y[1400:]).item(),
            "accuracy": (scores.argmax(1) == y[1400:]).float().mean().item(),
        }
        yield metrics, {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
