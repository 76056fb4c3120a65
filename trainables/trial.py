"""One trial in one process: builds the training of a config, and returns a result for each epoch.

Nothing here depends on Ray (`trainables.tune` does). Errors of the user's code are results, too.
"""

from __future__ import annotations

import math
import resource
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch

from trainables.checkpoint_integrity import DISK_REFUSES, CheckpointError, CorruptCheckpoint
from trainables.custom_loop import CustomLoop, start_custom_loop
from trainables.data import Data, load, origin, reopen
from trainables.device import (
    device_for,
    free_memory,
    is_lost,
    is_out_of_memory,
    settle_process,
    utilisation,
)
from trainables.imports import add_paths
from trainables.process_state import ProcessState
from trainables.run_config import RunConfig, RunError, read
from trainables.training import Epoch, Training

CHECKPOINT_S = 60.0  # time since its last checkpoint after which a trial requests one
USER_ERRORS = (Exception, SystemExit)  # raised by a user's net, loss or data, they are the trial's outcome
OUR_KEYS = ("trial", "import_paths")


class Trial:
    """Trains one epoch per step; whatever goes wrong is an outcome, never an exception.

    One object can be used for several trials in turn (`begin`); the data are kept, but nothing that a
    trial's code sets for the process (`trainables.process_state`).

    Args:
        data: used by every trial whose config names these; others load their own.
    """

    training: Training | CustomLoop | None
    run_config: RunConfig | None
    outcome: dict[str, str] | None  # set once the trial has ended
    number: int  # epochs done
    names: list[str]  # of the metrics
    costs: dict[str, float]  # of the net, the same at every epoch
    best: float  # value of checkpoint_config.monitor, lower is better
    wants_checkpoint: bool  # after the last step

    def __init__(self, data: Data | None = None) -> None:
        settle_process()
        self.device = torch.device("cpu")
        self.given_data = data
        self.loaded_data: Data | None = None  # by this process
        self.training = None
        self.process = ProcessState()

    def begin(self, config: Mapping[str, Any], gpu_share: float) -> None:
        """Build the training of a config; an error is the trial's outcome.

        Args:
            config: a nested run config, with `trial` and `import_paths`.
            gpu_share: its share of a GPU; 0 for the CPU.
        """
        self.close()
        self.process = ProcessState()
        self.run_config = self.outcome = None
        self.number, self.names, self.costs, self.best = 0, [], {}, math.inf
        self.wants_checkpoint = False
        self.device = torch.device("cpu")
        self.is_standalone = "trial" not in config
        self.saved_at = time.monotonic()
        free_memory()
        try:
            paths = config.get("import_paths") or ()
            add_paths(paths)
            run = read({key: config[key] for key in config if key not in OUR_KEYS})
            self.run_config = run
            self.names, self.costs = list(run.metrics), dict.fromkeys(run.costs, math.nan)
            self.device = device_for(gpu_share)
            seed = (config.get("trial") or {}).get("seed", run.seeds[0])
            data = self._data(run, paths)
            with self.process.own():
                self.training = start_custom_loop(run, data, device=self.device, seed=seed, folders=paths)
                self.costs |= self.training.costs()
        except USER_ERRORS as error:
            self._fail(error)

    def step(self) -> dict[str, Any]:
        """Train one epoch and return its result; errors of the user's code are outcomes."""
        self.wants_checkpoint = False
        if self.outcome is None:
            try:
                with self.process.own():
                    return self._epoch()
            except USER_ERRORS as error:
                self._fail(error)
        return self._outcome_result()

    def save(self, folder: str) -> None:
        """Write the training's state; nothing for a trial that failed.

        Raises:
            OSError: if the disk refuses (`DISK_REFUSES`); the trial can go on.
        """
        self.saved_at = time.monotonic()
        if self.training is None:
            return
        try:
            with self.process.own():
                self.training.save(folder)
        except USER_ERRORS as error:
            if isinstance(error, OSError) and error.errno in DISK_REFUSES:
                raise  # the trial can go on; the caller decides
            self._fail(error)

    def load(self, folder: str) -> None:
        """Go on from a checkpoint of this trial, or of another under this trial's config.

        Raises:
            CorruptCheckpoint: if it is damaged; the trial is unchanged.
        """
        if self.training is None:
            return
        try:
            with self.process.own():
                self.training.load(folder)
            self.number = self.training.number
        except CorruptCheckpoint:
            raise  # not the trial's fault: the caller may have older ones
        except USER_ERRORS as error:
            self._fail(error)

    def examine(self, examine: Callable[[Training], dict[str, Any]]) -> dict[str, Any]:
        """Call a function with the training; {} for a custom loop, or if it raises."""
        if not isinstance(self.training, Training):
            return {}
        try:
            with self.process.own():
                return examine(self.training)
        except USER_ERRORS as error:
            self._fail(error)
            return {}

    @property
    def device_lost(self) -> bool:
        """Whether this process can no longer use its GPU, so that the next trial needs another process."""
        return is_lost(self.device)

    def close(self) -> None:
        """Release all that the training holds."""
        with self.process.own():  # a custom loop may clean up after itself
            if isinstance(self.training, CustomLoop):
                self.training.close()
            self.training = None

    def _data(self, run: RunConfig, paths: Any) -> Data:
        """The data given or loaded before, if they are those of this trial's config; else load them."""
        wanted = origin(run)
        for data in (self.given_data, self.loaded_data):
            if data is not None and data.origin == wanted and not data.is_lazy:
                return data
        for data in (self.loaded_data, self.given_data):
            if data is not None and data.origin == wanted:
                with ProcessState().own():
                    self.loaded_data = reopen(data, run, paths)
                return self.loaded_data
        with ProcessState().own():  # later trials get these data without calling the function
            self.loaded_data = load(run, paths)
        return self.loaded_data

    def _epoch(self) -> dict[str, Any]:
        """Train one epoch; returns its result."""
        assert self.training is not None
        assert self.run_config is not None
        epoch = next(self.training, None)
        if epoch is None:
            self.outcome = {"outcome": "completed", "reason": self.training.ended, "error": ""}
            return self._outcome_result()
        self.number = epoch.number
        self.names = list(epoch.metrics)
        result = self._make_result(epoch)
        if not epoch.finite:
            losses = ", ".join(f"{name} {value}" for name, value in epoch.losses.items())
            self.outcome = {
                "outcome": "diverged",
                "reason": f"{losses} at epoch {epoch.number}; lower the learning rate or set grad_clip",
                "error": "",
            }
        elif self.training.ended:
            self.outcome = {"outcome": "completed", "reason": self.training.ended, "error": ""}
        elif self._is_checkpoint_due(epoch, result):
            self.wants_checkpoint = True
        is_last = self.outcome is not None or epoch.number >= self.run_config.epochs
        return result | (self.outcome or {}) | ({"done": True} if is_last and self.is_standalone else {})

    def _make_result(self, epoch: Epoch) -> dict[str, Any]:
        """The result of an epoch, as Ray takes it: a flat dict."""
        result: dict[str, Any] = {
            **self.costs,
            **epoch.metrics,
            "epoch": epoch.number,
            **epoch.losses,
            "lr": epoch.lr,
            "grad_norm": epoch.grad_norm,
            "epoch_s": epoch.seconds,
        }
        if self.device.type == "cuda":
            result["peak_memory_mb"] = torch.cuda.max_memory_allocated(self.device) / 2**20
            busy = utilisation(self.device)
            if busy is not None:
                result["gpu_utilisation"] = busy
        else:
            result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return result

    def _is_checkpoint_due(self, epoch: Epoch, result: Mapping[str, Any]) -> bool:
        """Whether a checkpoint is due, by `checkpoint_config` or by time."""
        assert self.run_config is not None
        config = self.run_config.checkpoint_config
        is_due = time.monotonic() - self.saved_at >= CHECKPOINT_S
        if not config.enabled:
            return is_due
        if config.save_best and config.monitor in result:
            loss = float(result[config.monitor]) * config.sign
            if loss < self.best:
                self.best = loss
                is_due = True
        is_last = epoch.number >= self.run_config.epochs  # with it, the study can be given more epochs
        return is_due or is_last or epoch.number % config.save_every_n_epochs == 0

    def _fail(self, error: BaseException) -> None:
        """Make an error the trial's outcome, and release all that the training holds."""
        self.outcome = {
            "outcome": "oom" if is_out_of_memory(error) else "failed",
            "reason": _one_line(error),
            "error": "".join(traceback.format_exception(error)),
        }
        traceback.clear_frames(error.__traceback__)  # its frames would keep tensors alive
        self.close()
        free_memory()

    def _outcome_result(self) -> dict[str, Any]:
        """The outcome as a result, with a value for every metric that a scheduler or searcher may read."""
        assert self.outcome is not None
        names = ("val_loss", "train_loss", *self.names)
        result = {name: math.nan for name in names} | self.costs | {"epoch": self.number} | self.outcome
        return result | ({"done": True} if self.is_standalone else {})


def _one_line(error: BaseException) -> str:
    """The text of an error in one line of readable length; of a GPU's, without its debugging advice."""
    text = str(error).strip()
    if isinstance(error, torch.AcceleratorError):
        text = text.partition("\n")[0]
    text = " ".join(text.split())[:500]
    return text if isinstance(error, (RunError, CheckpointError)) else f"{type(error).__name__}: {text}"
