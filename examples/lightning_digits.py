"""PyTorch Lightning (`pip install lightning`): its Trainer fits one epoch at a time, and each is yielded.

What a trial goes on from is Lightning's own checkpoint.
"""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset, TensorDataset


class Digits(lightning.LightningModule):
    """An MLP of one hidden layer."""

    def __init__(self, hidden: int, lr: float) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
        self.lr = lr

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        """Lightning's: the loss of a batch."""
        x, y = batch
        return cross_entropy(self.net(x), y)

    def validation_step(self, batch: Any, _: int) -> None:
        """Lightning's: what it logs here, averaged over the batches, is what `train` yields."""
        x, y = batch
        scores = self.net(x)
        self.log("val_loss", cross_entropy(scores, y))
        self.log("accuracy", (scores.argmax(1) == y).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Lightning's."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


def train(config: dict[str, Any], state: dict[str, Any] | None = None) -> Iterator[Any]:
    """Fit a module; each epoch yields what it has logged, and Lightning's checkpoint."""
    images, labels = load_digits(return_X_y=True)
    rows = TensorDataset(torch.as_tensor(images, dtype=torch.float32) / 16, torch.as_tensor(labels))
    training = DataLoader(Subset(rows, range(1400)), batch_size=64, shuffle=True)
    validation = DataLoader(Subset(rows, range(1400, len(rows))), batch_size=256)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "epoch.ckpt"
        if state is not None:
            file.write_bytes(state["checkpoint"])
        for epoch in itertools.count(1 if state is None else state["epoch"] + 1):
            trainer = lightning.Trainer(max_epochs=epoch, devices=1, default_root_dir=folder, **quiet)
            module = Digits(**config)
            trainer.fit(module, training, validation, ckpt_path=file if file.exists() else None)
            trainer.save_checkpoint(file)
            metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
            yield metrics, {"epoch": epoch, "checkpoint": file.read_bytes()}
