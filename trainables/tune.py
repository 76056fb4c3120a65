"""A trial as Ray Tune sees it: any training of this package, in a reusable actor.

In a program of your own:

    tune.Tuner(TorchTrainable, param_space={"data": "trainables.data.load_digits", "epochs": 10, ...})

The config is a run config (`trainables.run_config.RunConfig`), nested, with two keys more: `import_paths`,
the folders in which dotted paths and relative files are looked for, and `trial`: {"seed": int}.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from trainables.checkpoint_integrity import DISK_REFUSES
from trainables.first_step_failed import FirstStepFailed
from trainables.imports import unwatched
from trainables.lane_host import FOLLOWED, LaneHost
from trainables.termination import Termination, termination_of_process

if TYPE_CHECKING:
    from trainables.data import Data
    from trainables.trial import Trial


class TorchTrainable(tune.Trainable):  # type: ignore[misc]  # ray ships no types
    """Trains one epoch per step; whatever goes wrong is an outcome, never an exception.

    The first result of a trial in a process also says what that runs with: `process`, a dict of its `torch`
    version and its `gpu` ("" for none).

    A result is an epoch (`epoch`, `val_loss`, `train_loss`, `lr`, `grad_norm`, `epoch_s`, the metrics,
    `peak_memory_mb`, and on a GPU `gpu_utilisation`), or it carries an `outcome`: "failed", "oom" or
    "diverged" with `reason` (one line) and `error` (the traceback), or "completed" when the trial's own
    patience, or its own generator, ended it. Where no service gave it a `trial` key there may be no
    scheduler that ends trials by these words, so its last result is also marked `done`.

    A checkpoint that the disk refuses costs the trial nothing but the way back: it goes on, and the
    process's next result says so (`unsaved`, one line). A damaged one raises
    `trainables.checkpoint_integrity.CorruptCheckpoint`.

    A process that gets a SIGTERM finishes the step it is at, asks for a checkpoint with its result, and
    leaves when it is called after that (`trainables.termination`): to Ray its trial has lost its worker. So
    does one whose GPU an error has left unusable, once it has told of it: no later trial fails for that.

    Where a service says what to try `first`, each process takes one step of that before its first trial, and
    raises `trainables.first_step_failed.FirstStepFailed` if it does not go well.
    """

    trial: Trial
    unsaved = ""
    _untold = True  # where the trial runs
    _termination: Termination
    _progress = False  # since the last checkpoint
    _first: dict[str, Any] | None = None
    _due: tuple[dict[str, Any], float] | None = None
    """The config and GPU share of a trial that is not built yet."""

    def setup(
        self, config: dict[str, Any], data: Data | None = None, first: dict[str, Any] | None = None
    ) -> None:
        """Take the trial up; `data` (else it loads its own) and `first` come by `tune.with_parameters`.

        It is built by the first call that needs it: a net or a data function that hangs does so where ray
        (and a trial's time limit) takes the trial for running, not for one that waits for its process.
        """
        with unwatched():
            from trainables.trial import Trial  # torch: two seconds and 200 MB that a driver does without

        self.trial, self._first = Trial(data), first
        in_actor = ray.is_initialized() and ray.get_runtime_context().get_actor_id()
        self._termination = termination_of_process() if in_actor else Termination()
        self._due = (config, _gpu_share())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial in the same process; the data stay."""
        if self._termination.requested or self.trial.device_lost:
            self._termination.leave()
        self._last_result = None  # ray's, and it would show the former trial's result
        self._progress, self._untold = False, True
        self._due = (new_config, _gpu_share())
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and say how it went; never raises for what the user's code does.

        Raises:
            Unfit: if what was to be tried first does not go well; before any training.
        """
        if self._termination.requested and not self._progress:
            self._termination.leave()
        with self._termination.held_off():
            if self._first is not None:
                self._try(self._first)
                self._first = None
            result = self.built().step()
            self._progress = True
            if self.trial.outcome is not None and self.trial.device_lost:
                self._termination.request()
        if self.unsaved:
            result, self.unsaved = result | {"unsaved": self.unsaved}, ""
        if self._untold:
            from trainables.device import process_facts

            result, self._untold = result | {"process": process_facts(self.trial.device)}, False
        saves = self.trial.wants_checkpoint or (self._termination.requested and self.trial.outcome is None)
        return result | ({tune.result.SHOULD_CHECKPOINT: True} if saves else {})

    def train_buffered(self, epochs: int, seconds: float) -> list[dict[str, Any]]:
        """Train several epochs, and hand all their results over together.

        Fewer if one asks for a checkpoint, ends the trial or tells a loss or metric that is not finite, or
        when the time is over; at least one. Each result but the last is marked `followed`.

        Args:
            epochs: at most; Ray passes it first, whatever its own method calls it (tune_controller.py:1483).
            seconds: after which no other epoch is begun.
        """
        until = time.monotonic() + seconds
        with self._termination.held_off():
            results = [self.train()]
            while len(results) < epochs and time.monotonic() < until and self.may_follow(results[-1]):
                results[-1][FOLLOWED] = True
                results.append(self.train())
        return results

    def may_follow(self, result: Mapping[str, Any]) -> bool:
        """Whether another epoch may come before this result is answered: nobody must act or decide on it."""
        ends = "outcome" in result or result.get(tune.result.DONE)
        names = ("val_loss", "train_loss", *self.trial.names)  # a loop of the user's own may report no loss
        finite = all(math.isfinite(result[name]) for name in names if name in result)
        return finite and not ends and not result.get(tune.result.SHOULD_CHECKPOINT)

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Save, as Ray asks; what Ray takes for "none was made" where the disk refuses.

        Returns once the checkpoint is on the disk itself: Ray copies it to where it stays without that.
        """
        try:
            with self._termination.held_off():
                saved = super().save(checkpoint_dir)
                _force_to_disk(saved.checkpoint)
                self._progress = False
        except OSError as error:
            if error.errno not in DISK_REFUSES:
                raise
            place = f"trial {self.trial_id} at epoch {self.trial.number}"
            self.unsaved = f"{place}: no checkpoint could be written: {os.strerror(error.errno or 0)}"
            return SimpleNamespace(checkpoint=None)
        return saved

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the training's state; nothing for a trial that failed."""
        self.built().save(checkpoint_dir)

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go on from a checkpoint of this trial, or of another under this trial's config."""
        with self._termination.held_off():
            self.built().load(checkpoint)

    @property
    def has_progress(self) -> bool:
        """Whether it has trained since its last checkpoint."""
        return self._progress

    def skip_first_step(self) -> None:
        """Another trial of this process has taken the step that each process takes first."""
        self._first = None

    def _try(self, config: dict[str, Any]) -> None:
        from trainables.dry_run import first_step

        seen = first_step(config, self.trial.given, _gpu_share())
        if seen.outcome != "ran":
            raise FirstStepFailed([f"default: {seen.outcome}: {seen.reason}"])
        if seen.faults():
            raise FirstStepFailed(
                [f"{name}: default: {message}; {fix}" for name, message, fix in seen.faults()]
            )

    def built(self) -> Trial:
        """The trial; built by the first call that needs it."""
        if self._due is not None:
            due, self._due = self._due, None
            self.trial.begin(*due)
        return self.trial

    def cleanup(self) -> None:
        """Let go of the device."""
        self.trial.close()


class TorchLaneHost(LaneHost):
    """Several trials in one process, as an actor of Ray's.

    Args:
        make: the class of the trials.
        fuse: whether trials that fit are trained together.
    """

    def __init__(self, make: type[TorchTrainable], fuse: bool = True) -> None:
        with unwatched():
            from trainables.fused_trials import FusedTrials  # torch, while nobody waits yet

        super().__init__(make, FusedTrials() if fuse else None, termination_of_process())


def _force_to_disk(checkpoint: tune.Checkpoint) -> None:
    """Force to the disk a checkpoint's files and its folder, where they lie on a local path."""
    if checkpoint.filesystem.type_name != "local":
        return
    folder = Path(checkpoint.path)
    for path in (*(file for file in folder.rglob("*") if file.is_file()), folder):
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _gpu_share() -> float:
    """How much of a GPU ray gave this actor; 0 outside ray."""
    if not ray.is_initialized():
        return 0.0
    return float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))
