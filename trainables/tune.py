"""The trainable of Ray Tune: any training of this package, in a reusable actor.

In a program of your own:

    tune.Tuner(TorchTrainable, param_space={"data": "trainables.data.load_digits", "epochs": 10, ...})

The config is a nested run config (`trainables.run_config.RunConfig`) with two more keys: `import_paths`,
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
from trainables.imports import without_garbage_collection
from trainables.lane_host import LaneHost, mark_followed
from trainables.termination import Termination, termination_of_process

if TYPE_CHECKING:
    from trainables.data import Data
    from trainables.trial import Trial


class TorchTrainable(tune.Trainable):  # type: ignore[misc]  # ray ships no types
    """Trains one epoch per step; whatever goes wrong is an outcome, never an exception.

    The first result of a trial in a process has a key `process`: a dict of its `torch` version and its
    `gpu` ("" for none).

    A result is an epoch (`epoch`, `val_loss`, `train_loss`, `lr`, `grad_norm`, `epoch_s`, the metrics,
    `peak_memory_mb`, and on a GPU `gpu_utilisation`), or it has an `outcome`: "failed", "oom" or
    "diverged" with `reason` (one line) and `error` (the traceback), or "completed" if the trial's early
    stopping, or its own generator, ended it. Without a `trial` key in its config there may be no scheduler
    that ends trials by their outcome, so the last result is also marked `done`.

    If the disk refuses a checkpoint, the trial goes on without it, and the process's next result says so
    (`unsaved`, one line). A damaged checkpoint raises
    `trainables.checkpoint_integrity.CorruptCheckpoint`.

    A process that gets a SIGTERM finishes its step, requests a checkpoint with its result, and leaves when
    it is called after that (`trainables.termination`): to Ray its trial has lost its worker. So does a
    process whose GPU an error has left unusable, once it has reported the error, so that no later trial
    fails for it.

    If `first` is given, each process takes one step of that config before its first trial, and raises
    `trainables.first_step_failed.FirstStepFailed` if it fails.
    """

    trial: Trial
    unsaved = ""
    _facts_reported = False
    _termination: Termination
    _progress = False  # since the last checkpoint
    _first: dict[str, Any] | None = None
    _due: tuple[dict[str, Any], float] | None = None
    """The config and GPU share of a trial that is not built yet."""

    def setup(
        self, config: dict[str, Any], data: Data | None = None, first: dict[str, Any] | None = None
    ) -> None:
        """Prepare the trial; `data` (else it loads its own) and `first` come from `tune.with_parameters`.

        The trial is built by the first call that needs it, so that a net or a data function that hangs does
        so while Ray (and a trial's time limit) sees the trial as running, not as waiting for its process.
        """
        with without_garbage_collection():
            from trainables.trial import Trial  # torch: two seconds and 200 MB that a driver does without

        self.trial, self._first = Trial(data), first
        in_actor = ray.is_initialized() and ray.get_runtime_context().get_actor_id()
        self._termination = termination_of_process() if in_actor else Termination()
        self._due = (config, _gpu_share())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial in the same process; the data stay."""
        if self._termination.requested or self.trial.device_lost:
            self._termination.leave()
        self._last_result = None  # ray's attribute, with the former trial's result
        self._progress, self._facts_reported = False, False
        self._due = (new_config, _gpu_share())
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and return its result; errors of the user's code are outcomes.

        Raises:
            FirstStepFailed: if the step before the first trial fails.
        """
        if self._termination.requested and not self._progress:
            self._termination.leave()
        with self._termination.held_off():
            if self._first is not None:
                self._take_first_step(self._first)
                self._first = None
            result = self.get_trial().step()
            self._progress = True
            if self.trial.outcome is not None and self.trial.device_lost:
                self._termination.request()
        if self.unsaved:
            result, self.unsaved = result | {"unsaved": self.unsaved}, ""
        if not self._facts_reported:
            from trainables.device import process_facts

            result, self._facts_reported = result | {"process": process_facts(self.trial.device)}, True
        saves = self.trial.wants_checkpoint or (self._termination.requested and self.trial.outcome is None)
        return result | ({tune.result.SHOULD_CHECKPOINT: True} if saves else {})

    def train_buffered(self, epochs: int, seconds: float) -> list[dict[str, Any]]:
        """Train several epochs, and return all their results together.

        Ends early after a result that requests a checkpoint, ends the trial or has a non-finite loss or
        metric, or when the time is over; trains at least one. Each result but the last is marked `followed`
        and has no `config`.

        Args:
            epochs: maximum; Ray passes it first, under another name (tune_controller.py:1483).
            seconds: time after which no further epoch begins.
        """
        until = time.monotonic() + seconds
        with self._termination.held_off():
            results = [self.train()]
            while len(results) < epochs and time.monotonic() < until and self.may_follow(results[-1]):
                mark_followed(results[-1])
                results.append(self.train())
        return results

    def may_follow(self, result: Mapping[str, Any]) -> bool:
        """Whether another epoch may be trained before this result is answered."""
        ends = "outcome" in result or result.get(tune.result.DONE)
        names = ("val_loss", "train_loss", *self.trial.names)  # a custom loop may report no loss
        finite = all(math.isfinite(result[name]) for name in names if name in result)
        return finite and not ends and not result.get(tune.result.SHOULD_CHECKPOINT)

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Save a checkpoint, and flush it to disk, which Ray does not; none if the disk refuses."""
        try:
            with self._termination.held_off():
                saved = super().save(checkpoint_dir)
                _force_to_disk(saved.checkpoint)
                self._progress = False
        except OSError as error:
            if error.errno not in DISK_REFUSES:
                raise
            epoch = f"trial {self.trial_id} at epoch {self.trial.number}"
            self.unsaved = f"{epoch}: no checkpoint could be written: {os.strerror(error.errno or 0)}"
            return SimpleNamespace(checkpoint=None)
        return saved

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the training's state; nothing for a trial that failed."""
        self.get_trial().save(checkpoint_dir)

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go on from a checkpoint of this trial, or of another under this trial's config."""
        with self._termination.held_off():
            self.get_trial().load(checkpoint)

    @property
    def has_progress(self) -> bool:
        """Whether the trial has trained since its last checkpoint."""
        return self._progress

    def skip_first_step(self) -> None:
        """Skip the first step, which another trial of this process has taken."""
        self._first = None

    def _take_first_step(self, config: dict[str, Any]) -> None:
        from trainables.dry_run import first_step

        report = first_step(config, self.trial.given_data, _gpu_share())
        if report.outcome != "ran":
            raise FirstStepFailed([f"default: {report.outcome}: {report.reason}"])
        if faults := report.faults():
            raise FirstStepFailed([f"{name}: default: {message}; {fix}" for name, message, fix in faults])

    def get_trial(self) -> Trial:
        """The trial, built on the first call."""
        if self._due is not None:
            due, self._due = self._due, None
            self.trial.begin(*due)
        return self.trial

    def cleanup(self) -> None:
        """Release the device."""
        self.trial.close()


class TorchLaneHost(LaneHost):
    """A Ray actor that runs several trials in one process.

    Args:
        make: the class of the trials.
        fuse: whether trials that fit are trained together.
    """

    def __init__(self, make: type[TorchTrainable], fuse: bool = True) -> None:
        with without_garbage_collection():
            from trainables.fused_trials import FusedTrials  # imports torch before the first trial waits

        super().__init__(make, FusedTrials() if fuse else None, termination_of_process())


def _force_to_disk(checkpoint: tune.Checkpoint) -> None:
    """Flush a local checkpoint's files and its folder to disk."""
    if checkpoint.filesystem.type_name != "local":
        return
    folder = Path(checkpoint.path)
    for path in (*(file for file in folder.rglob("*") if file.is_file()), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _gpu_share() -> float:
    """The share of a GPU that Ray assigned to this actor; 0 without Ray."""
    if not ray.is_initialized():
        return 0.0
    return float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))
