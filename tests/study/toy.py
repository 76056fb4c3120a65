"""A training loop that trains nothing and fails on demand, for sweeps that take seconds."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainables.training import Epoch

STEP_S = 0.02


def train(run: Any, data: Any, *, device: Any, seed: int) -> Iterator[Epoch]:
    """`net_config.kind`: sound, raises, oom, nan, hangs, or once each (`mark` remembers) kills, oom_once.

    `net_config.raises_at`, `kills_at`: learning rates under which it always does.
    """
    kind, lr = run.net_config.get("kind", "sound"), run.optimizer_config["lr"]
    for number in range(1, run.epochs + 1):
        time.sleep(run.net_config.get("step_s", STEP_S))
        if number == 2 and lr == run.net_config.get("kills_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 2 and (kind == "raises" or lr == run.net_config.get("raises_at")):
            raise KeyError("no such column")
        if number == 2 and kind == "oom":
            raise MemoryError("out of memory")
        if number == 2 and kind == "hangs":
            time.sleep(1000)
        if number == 2 and kind in ("kills", "oom_once"):
            mark = Path(run.net_config["mark"])
            if not mark.exists():
                mark.touch()
                if kind == "oom_once":
                    raise MemoryError("out of memory")
                os.kill(os.getpid(), signal.SIGKILL)
        loss = math.nan if number == 2 and kind == "nan" else (math.log10(lr) + 1) ** 2 + 1 / number
        yield Epoch(number, loss, loss, {}, lr)
