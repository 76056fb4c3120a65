"""A trial that gets a GPU from Ray but computes on the CPU."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainables.training import Epoch
from trainables.tune import TorchTrainable

WAITS_S = 100.0  # for processes that may never come


class OnFakeGpu(TorchTrainable):
    """Gets a GPU from Ray and uses the CPU as its device: torch would find no GPU."""

    def setup(self, config: dict[str, Any], data: Any = None) -> None:  # type: ignore[override]
        super().setup(config, data)
        self._due = (config, 0.0)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        again = super().reset_config(new_config)
        self._due = (new_config, 0.0)
        return again


def train(run: Any, data: Any, *, device: Any, seed: int) -> Iterator[Epoch]:
    """Wait until enough trials have started, and record which GPUs Ray shows this process, and when."""
    begun, out = time.time(), Path(run.net_config["out"])
    with (out / "begun").open("a") as file:
        file.write(f"{os.getpid()}\n")
    while len(set((out / "begun").read_text().split())) < run.net_config["together"]:
        if time.time() > begun + WAITS_S:
            break
        time.sleep(0.1)
    with (out / "shown").open("a") as file:
        file.write(f"{os.environ['CUDA_VISIBLE_DEVICES']} {begun} {time.time()}\n")
    yield Epoch(1, 1.0, 1.0, {}, 0.1)
