"""A net that is sound, or goes wrong at one place, as `net_config.mood` says."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch

from trainables.mlp import MLP


class Moody(MLP):
    """Its moods: sound, init, forward, backward, memory, nan, and kills, which does so once (`mark`)."""

    def __init__(self, in_features: int, out_features: int, mood: str, mark: str = "") -> None:
        if mood == "init":
            raise KeyError("no such layer")
        super().__init__(in_features, out_features, nodes=8, layers=2, dropout=0.1)
        self.mood, self.mark, self.batches = mood, Path(mark), 0
        if mood == "nan":
            with torch.no_grad():
                next(self.parameters()).fill_(torch.inf)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The moods that show here do so at the twentieth batch."""
        if self.mood in ("sound", "nan"):
            return super().forward(x)
        self.batches += 1
        if self.batches == 20:
            self._act()
        out = super().forward(x)
        if self.mood == "backward" and self.batches >= 20 and out.requires_grad:
            out.register_hook(_refuse)  # type: ignore[no-untyped-call]  # torch
        return out

    def _act(self) -> None:
        if self.mood == "forward":
            raise KeyError("no such feature")
        if self.mood == "memory":
            torch.empty(2**50)
        if self.mood == "kills" and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def _refuse(gradient: torch.Tensor) -> None:
    raise KeyError("no such gradient")
