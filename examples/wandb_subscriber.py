"""Each trial as a run of Weights & Biases: `subscribers: [wandb_subscriber.WandB]`.

Needs `pip install wandb` and, unless `WANDB_MODE=offline`, `wandb login`. The runs of a study are one group.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

import raysweep


class WandB(raysweep.StudySubscriber):
    """Writes a run for each trial.

    Args:
        project: of W&B; the study's name if None.
    """

    def __init__(self, project: str | None = None) -> None:
        self.project = project
        self.study, self.folder = "", Path()
        self.runs: dict[int, Any] = {}

    def study_began(self, name: str, folder: Path, metric: str) -> None:
        """Note where the runs belong."""
        self.study, self.folder = name, folder

    def trial_began(self, trial: int, config: Mapping[str, Any]) -> None:
        """Begin a run; of a trial that was paused, go on with the one there is."""
        if trial in self.runs:
            self.runs[trial].config.update(dict(config), allow_val_change=True)  # a copy has other settings
            return
        self.runs[trial] = wandb.init(
            project=self.project or self.study,
            group=self.study,
            name=f"{self.study}-{trial}",
            id=f"{self.study}-{trial:05d}",
            resume="allow",
            config=dict(config),
            dir=str(self.folder),
            reinit="create_new",
        )

    def epoch_reported(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log all metrics at their epoch."""
        self.runs[trial].log(dict(metrics) | {"epoch": epoch}, step=epoch)

    def trial_ended(self, trial: int, outcome: str, reason: str) -> None:
        """Note how it ended, and finish the run."""
        run = self.runs.pop(trial, None)
        if run is not None:
            run.summary.update({"outcome": outcome, "reason": reason})
            run.finish()

    def study_ended(self) -> None:
        """Finish the runs of trials that go on another time."""
        for run in self.runs.values():
            run.finish()
        self.runs.clear()
