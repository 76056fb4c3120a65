"""Trainables of the tests on a real Ray: importable by workers, deterministic, quick."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ray import tune


class Slope(tune.Trainable):  # type: ignore[misc]
    """Falls by `lr` each step from 10; its whole state is this number."""

    def setup(self, config: Any) -> None:
        self.reset_config(config)

    def reset_config(self, config: Any) -> Any:
        self.config = config
        self.epoch, self.height = 0, 10.0
        return True

    def step(self) -> Any:
        time.sleep(self.config.get("step_s", 0.02))
        self.epoch += 1
        self.height -= self.config["optimizer"]["lr"]
        loss = float("nan") if self.epoch == self.config.get("nan_at") else self.height
        return {
            "epoch": self.epoch,
            "loss": loss,
            "lr": self.config["optimizer"]["lr"],
            "process": os.getpid(),
        }

    def save_checkpoint(self, checkpoint_dir: Any) -> None:
        state = {"epoch": self.epoch, "height": self.height}
        (Path(checkpoint_dir) / "state.json").write_text(json.dumps(state))

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        state = json.loads((Path(checkpoint_dir) / "state.json").read_text())
        self.epoch, self.height = state["epoch"], state["height"]


class Fragile(Slope):
    """A slope that raises at `fails_at`."""

    def step(self) -> Any:
        if self.epoch + 1 == self.config.get("fails_at"):
            raise RuntimeError("boom")
        return super().step()


def falling(config: Any) -> None:
    """A function trainable without checkpoints."""
    for epoch in range(1, 28):
        time.sleep(0.01)
        tune.report({"loss": config["x"] + 1 / epoch})
