"""`raysweep.log`, by which a script run by `run.command` reports each epoch."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import SupportsFloat

CHECKPOINT = "checkpoint"
"""Key of a report that holds the path of a checkpoint."""


def log(metrics: Mapping[str, SupportsFloat], checkpoint: str | Path | None = None) -> None:
    """Report an epoch's metrics, and a checkpoint to go on from after it.

    Outside a sweep the metrics are printed, and the checkpoint stays where it is.

    Args:
        metrics: numbers by name; tensors and arrays of one element too.
        checkpoint: a complete file or folder. In a sweep it is moved away: write a new one next time. A
            script that has to go on from it finds its path in `RAYSWEEP_CHECKPOINT`.
    """
    report: dict[str, float | str] = {name: float(value) for name, value in metrics.items()}
    folder, file = os.environ.get("RAYSWEEP_CHECKPOINT_DIR"), os.environ.get("RAYSWEEP_METRICS_FILE")
    if checkpoint is not None and folder:
        target = Path(folder) / uuid.uuid4().hex / Path(checkpoint).name
        target.parent.mkdir(parents=True)
        shutil.move(checkpoint, target)
        report[CHECKPOINT] = str(target)
    line = json.dumps(report) + "\n"
    if not file:
        print(line, end="", flush=True)
        return
    with Path(file).open("a", encoding="utf-8") as metrics_file:
        metrics_file.write(line)
