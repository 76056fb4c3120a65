"""A trial as Ray Tune sees it: any training of this package, in a reusable actor.

In a program of your own:

    tune.Tuner(TorchTrainable, param_space={"data": "trainables.data.load_digits", "epochs": 10, ...})

The config is a run config (`trainables.run.RunConfig`), nested, with two keys more: `import_paths`, the
folders in which dotted paths and relative files are looked for, and `trial`: {"seed": int}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ray
from ray import tune

if TYPE_CHECKING:
    from trainables.data import Data
    from trainables.trial import Trial


class TorchTrainable(tune.Trainable):  # type: ignore[misc]  # ray ships no types
    """Trains one epoch per step; whatever goes wrong is an outcome, never an exception.

    A result is an epoch (`epoch`, `val_loss`, `train_loss`, `lr`, `grad_norm`, `epoch_s`, the metrics,
    `peak_memory_mb`, and on a GPU `gpu_utilisation`), or it carries an `outcome`: "failed", "oom" or
    "diverged" with `reason` (one line) and `error` (the traceback), or "completed" when the trial's own
    patience, or its own generator, ended it. Where no service gave it a `trial` key there may be no
    scheduler that ends trials by these words, so its last result is also marked `done`.
    """

    trial: Trial

    def setup(self, config: dict[str, Any], data: Data | None = None) -> None:
        """Build the training; `data` by `tune.with_parameters`, else the trial loads its own."""
        from trainables.trial import Trial  # torch: two seconds and 200 MB that a driver does without

        self.trial = Trial(data)
        self.trial.begin(config, _gpu_share())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial in the same process; the data stay."""
        self._last_result = None  # ray's, and it would show the former trial's result
        self.trial.begin(new_config, _gpu_share())
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and say how it went; never raises for what the user's code does."""
        result = self.trial.step()
        return result | ({tune.result.SHOULD_CHECKPOINT: True} if self.trial.wants_checkpoint else {})

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the training's state; nothing for a trial that failed."""
        self.trial.save(checkpoint_dir)

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go on from a checkpoint of this trial, or of another under this trial's config."""
        self.trial.load(checkpoint)

    def cleanup(self) -> None:
        """Let go of the device."""
        self.trial.close()


def _gpu_share() -> float:
    """How much of a GPU ray gave this actor; 0 outside ray."""
    if not ray.is_initialized():
        return 0.0
    return float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))
