"""A training loop that trains nothing, keeps a checkpoint of a given size, and fails as it is told."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from trainables.training import Epoch


def die_once(mark: Path) -> None:
    """SIGKILL this very process, unless it was done before."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def terminate_once(mark: Path) -> None:
    """SIGTERM this very process, unless it was done before."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGTERM)


def odd(kind: str, loss: float) -> Any:
    """What a user's loop gives for its loss on its second epoch."""
    odds = {"nan": math.nan, "inf": math.inf, "none": None, "text": "0.5", "tensor": torch.tensor(0.5)}
    if kind == "raises":
        raise KeyError("no such column")
    if kind == "hangs":
        time.sleep(1000)
    if kind == "megabyte":
        print("x" * 2**20)
    if kind == "memory":
        torch.empty(2**50)
    return odds.get(kind, loss)


class Loop:
    """`net_config`: kind, and megabytes of a checkpoint; the loss is of the rate and the epoch only."""

    def __init__(self, run: Any, data: Any, *, device: Any, seed: int) -> None:
        self.run, self.number = run, 0
        self.kind = run.net_config.get("kind", "sound")
        self.mark = Path(run.net_config.get("marks", "."))
        self.payload = os.urandom(int(run.net_config.get("megabytes", 0) * 2**20))

    def __iter__(self) -> Iterator[Epoch]:
        """An epoch is 50 ms."""
        lr = self.run.optimizer_config["lr"]
        while self.number < self.run.epochs:
            time.sleep(0.05)
            self.number += 1
            if self.number == 5 and self.kind in ("train", "restore"):
                die_once(self.mark / self.kind)
            if self.kind == f"term{self.number}":
                terminate_once(self.mark / self.kind)
            if self.kind == "leaves" and self.number == 3:
                sys.exit(7)
            loss = (math.log10(lr) + 1) ** 2 + 1 / self.number
            yield Epoch(self.number, loss, odd(self.kind, loss) if self.number == 2 else loss, {}, lr)

    def save(self, directory: str) -> None:
        """The position, and something that takes room."""
        (Path(directory) / "number").write_text(str(self.number))
        if self.kind == "save" and self.number >= 4:
            die_once(self.mark / "save")
        (Path(directory) / "payload").write_bytes(self.payload)

    def load(self, directory: str) -> None:
        """Go on from what was saved."""
        if self.kind == "restore":
            die_once(self.mark / "restored")
        self.number = int((Path(directory) / "number").read_text())
