"""One trial in one process: builds the training that its config asks for, and says how it goes.

Nothing here knows Ray (`trainables.tune` does): a config in, results out, whatever the user's code does.
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

CHECKPOINT_S = 60.0  # a trial that has trained so long since its last checkpoint asks for one
USER_ERRORS = (Exception, SystemExit)  # whatever a user's net, loss or data raise is the trial's outcome
OUR_KEYS = ("trial", "import_paths")


class Trial:
    """Trains one epoch per step; whatever goes wrong is an outcome, never an exception.

    A process may be one trial after another (`begin`); the data stay, and nothing of what a trial's code sets
    for the process (`trainables.process_state`).

    Args:
        data: for every trial whose config asks for these; others load their own.
    """

    training: Training | CustomLoop | None
    run_config: RunConfig | None
    outcome: dict[str, str] | None  # set once the trial is over
    number: int  # epochs done
    names: list[str]  # of the metrics
    costs: dict[str, float]  # of the net, the same at every epoch
    best: float  # value of checkpoint_config.monitor, lower is better
    wants_checkpoint: bool  # after the last step

    def __init__(self, data: Data | None = None) -> None:
        settle_process()
        self.device = torch.device("cpu")
        self.given = data
        self.own: Data | None = None  # loaded by this process
        self.training = None
        self.process = ProcessState()

    def begin(self, config: Mapping[str, Any], gpu_share: float) -> None:
        """Build the training that `config` asks for, or remember why it cannot be built.

        Args:
            config: a run config, nested, with `trial` and `import_paths`.
            gpu_share: how much of a GPU it has; 0 for the CPU.
        """
        self.close()
        self.process = ProcessState()
        self.run_config = self.outcome = None
        self.number, self.names, self.costs, self.best = 0, [], {}, math.inf
        self.wants_checkpoint = False
        self.device = torch.device("cpu")
        self.alone = "trial" not in config
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
            self._ends_by(error)

    def step(self) -> dict[str, Any]:
        """Train one epoch and say how it went; never raises for what the user's code does."""
        self.wants_checkpoint = False
        if self.outcome is None:
            try:
                with self.process.own():
                    return self._epoch()
            except USER_ERRORS as error:
                self._ends_by(error)
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
                raise  # the disk's fault: the trial goes on, whoever asked decides what follows
            self._ends_by(error)

    def load(self, folder: str) -> None:
        """Go on from a checkpoint of this trial, or of another under this trial's config.

        Raises:
            CorruptCheckpoint: if it is not as it was written; the trial is as it was.
        """
        if self.training is None:
            return
        try:
            with self.process.own():
                self.training.load(folder)
            self.number = self.training.number
        except CorruptCheckpoint:
            raise  # not the trial's fault: whoever asked has older ones
        except USER_ERRORS as error:
            self._ends_by(error)

    def shown(self, look: Callable[[Training], dict[str, Any]]) -> dict[str, Any]:
        """What somebody sees of the training; nothing of a loop of the user's own, or if it raises."""
        if not isinstance(self.training, Training):
            return {}
        try:
            with self.process.own():
                return look(self.training)
        except USER_ERRORS as error:
            self._ends_by(error)
            return {}

    @property
    def device_lost(self) -> bool:
        """Whether its GPU is of no use to this process any more: the next trial needs another process."""
        return is_lost(self.device)

    def close(self) -> None:
        """Let go of all that the training held."""
        with self.process.own():  # a loop of the user's own may clean up after itself
            if isinstance(self.training, CustomLoop):
                self.training.close()
            self.training = None

    def _data(self, run: RunConfig, paths: Any) -> Data:
        """The data given, unless this trial's config asks for others."""
        wanted = origin(run)
        for data in (self.given, self.own):
            if data is not None and data.origin == wanted and not data.is_lazy:
                return data
        for data in (self.own, self.given):
            if data is not None and data.origin == wanted:
                with ProcessState().own():
                    self.own = reopen(data, run, paths)
                return self.own
        with ProcessState().own():  # other trials are given these data without the function being called
            self.own = load(run, paths)
        return self.own

    def _epoch(self) -> dict[str, Any]:
        """One epoch as a result."""
        assert self.training is not None
        assert self.run_config is not None
        epoch = next(self.training, None)
        if epoch is None:
            self.outcome = {"outcome": "completed", "reason": self.training.ended, "error": ""}
            return self._outcome_result()
        self.number = epoch.number
        self.names = list(epoch.metrics)
        result = self._measured(epoch)
        if not epoch.finite:
            what = ", ".join(f"{name} {value}" for name, value in epoch.losses.items())
            self.outcome = {
                "outcome": "diverged",
                "reason": f"{what} at epoch {epoch.number}; lower the learning rate or set grad_clip",
                "error": "",
            }
        elif self.training.ended:
            self.outcome = {"outcome": "completed", "reason": self.training.ended, "error": ""}
        elif self._worth_a_checkpoint(epoch, result):
            self.wants_checkpoint = True
        last = self.outcome is not None or epoch.number >= self.run_config.epochs
        return result | (self.outcome or {}) | ({"done": True} if last and self.alone else {})

    def _measured(self, epoch: Epoch) -> dict[str, Any]:
        """The epoch as ray wants it: a flat dict."""
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

    def _worth_a_checkpoint(self, epoch: Epoch, result: Mapping[str, Any]) -> bool:
        """Whether `checkpoint_config` or the clock asks for one."""
        assert self.run_config is not None
        wish = self.run_config.checkpoint_config
        due = time.monotonic() - self.saved_at >= CHECKPOINT_S
        if not wish.enabled:
            return due
        if wish.save_best and wish.monitor in result:
            worth = float(result[wish.monitor]) * wish.sign
            if worth < self.best:
                self.best = worth
                due = True
        last = epoch.number >= self.run_config.epochs  # with it, the study can be given more epochs
        return due or last or epoch.number % wish.save_every_n_epochs == 0

    def _ends_by(self, error: BaseException) -> None:
        """Keep an error as the trial's outcome, and let go of all it held."""
        self.outcome = {
            "outcome": "oom" if is_out_of_memory(error) else "failed",
            "reason": _one_line(error),
            "error": "".join(traceback.format_exception(error)),
        }
        traceback.clear_frames(error.__traceback__)  # its frames would keep tensors alive
        self.close()
        free_memory()

    def _outcome_result(self) -> dict[str, Any]:
        """The outcome, with a value for every metric that a scheduler or searcher may look for."""
        assert self.outcome is not None
        names = ("val_loss", "train_loss", *self.names)
        result = {name: math.nan for name in names} | self.costs | {"epoch": self.number} | self.outcome
        return result | ({"done": True} if self.alone else {})


def _one_line(error: BaseException) -> str:
    """What an error says, in one line of readable length; of a GPU's, without its advice on debugging."""
    said = str(error).strip()
    if isinstance(error, torch.AcceleratorError):
        said = said.partition("\n")[0]
    text = " ".join(said.split())[:500]
    return text if isinstance(error, (RunError, CheckpointError)) else f"{type(error).__name__}: {text}"
