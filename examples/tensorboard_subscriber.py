"""Each trial's curves in TensorBoard, as they come: `subscribers: [tensorboard_subscriber.TensorBoard]`.

Needs tensorboardX, which Ray Tune brings along, and to look at it `pip install tensorboard`:

    tensorboard --logdir runs/STUDY/tensorboard
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

import raysweep


class TensorBoard(raysweep.StudySubscriber):
    """Writes a run for each trial.

    Args:
        folder: where to; `tensorboard` in the study's folder if None.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.writers: dict[int, SummaryWriter] = {}

    def study_began(self, name: str, folder: Path, metric: str) -> None:
        """Choose the folder."""
        self.folder = self.folder or folder / "tensorboard"

    def trial_began(self, trial: int, config: Mapping[str, Any]) -> None:
        """Note the settings."""
        settings = "\n".join(f"    {key}: {value}" for key, value in config.items())
        self._writer(trial).add_text("settings", settings)

    def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in metrics.items():
            if math.isfinite(value):
                self._writer(trial).add_scalar(name, value, epoch)

    def trial_ended(self, trial: int, outcome: str, reason: str) -> None:
        """Note how it ended, and close the run."""
        self._writer(trial).add_text("outcome", f"{outcome}: {reason}")
        self.writers.pop(trial).close()

    def study_ended(self) -> None:
        """Close the runs of trials that go on another time."""
        for writer in self.writers.values():
            writer.close()
        self.writers.clear()

    def _writer(self, trial: int) -> SummaryWriter:
        if trial not in self.writers:
            self.writers[trial] = SummaryWriter(f"{self.folder}/trial-{trial:05d}")
        return self.writers[trial]
