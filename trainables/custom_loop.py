"""Runs a user's training loop (`train:` in the run config) instead of the built-in one.

It is a generator function with the parameters of `trainables.training.train`,

    def my_train(run, data, *, device, seed): ...

that yields `trainables.training.Epoch`s, numbered 1, 2, 3 and so on. An iterable class with these parameters
and the methods `save(directory)` and `load(directory)` has checkpoints of its own. With a parameter
`devices` it gets all devices of its trial (`resources_per_trial: {gpu: 2}`), as `trainables.ddp` does, which
trains one net on several. A loop without checkpoints is run again, unreported, up to the epoch it had
reached: slow, but correct.

A function with a parameter `config` gets `train_config`, and yields dictionaries of metrics instead; see
`trainables.function_loop`. A command of any language is a loop, too: `trainables.command_loop`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from trainables import checkpoint
from trainables.data import Data, subsample
from trainables.device import devices_beside
from trainables.epoch_validation import validate_epoch
from trainables.function_loop import FunctionLoop, function_loop
from trainables.imports import call, resolve, takes
from trainables.precision import apply_arithmetic
from trainables.rng_state import RngState
from trainables.run_config import RunConfig
from trainables.training import Epoch, Training

INNER = "loop"  # folder of the user's files in a checkpoint


def start_custom_loop(
    run: RunConfig,
    data: Data,
    *,
    device: torch.device | str = "cpu",
    seed: int | None = None,
    folders: Sequence[str | Path] = (),
) -> Training | CustomLoop:
    """The training of a run config: the built-in one, or the user's loop.

    Args:
        run: what to train.
        data: what to train on.
        device: where.
        seed: the first of `run.seeds` if None.
        folders: where the user's files are, for a loop with a parameter of this name.

    Raises:
        RunError: if the run config cannot be built.
    """
    apply_arithmetic(run)
    if run.train is None:
        return Training(run, data, device=device, seed=seed)
    return CustomLoop(run, data, device=device, seed=seed, folders=folders)


class CustomLoop(Iterator[Epoch]):
    """The user's loop, with the interface of `Training`.

    Attributes:
        number: epochs done.
        ended: why there is no further epoch, or "".

    Raises:
        RunError: if `run.train` cannot be found or called.
    """

    def __init__(
        self,
        run: RunConfig,
        data: Data,
        *,
        device: torch.device | str = "cpu",
        seed: int | None = None,
        folders: Sequence[str | Path] = (),
    ) -> None:
        assert run.train is not None
        self.run = run
        seed = run.seeds[0] if seed is None else seed
        self.random = RngState(seed, torch.device(device))
        rows = subsample(data, run)
        with self.random.own():
            self.loop: Any
            if takes(resolve(run.train), "config"):
                self.loop = function_loop(run.train, run.train_config)
            else:
                given = {"device": torch.device(device), "seed": seed}
                offered = {"devices": devices_beside(torch.device(device)), "folders": folders}
                self.loop = call(run.train, run, rows, given=given, offered=offered)
        self.epochs: Iterator[Any] | None = None
        self.number = 0
        self.ended = ""

    def __next__(self) -> Epoch:
        """The loop's next epoch.

        Raises:
            RunError: if it yields anything but an Epoch of numbers, or one that is not the next.
        """
        if not self.ended and self.number >= self.run.epochs:
            self.ended = f"finished all {self.run.epochs} epochs"
        if self.ended:
            raise StopIteration
        with self.random.own():
            if self.epochs is None:
                self.epochs = iter(self.loop)
            epoch = next(self.epochs, None)
        if epoch is None:
            self.ended = f"{self.run.train} ended by itself after epoch {self.number}"
            raise StopIteration
        epoch = validate_epoch(epoch, str(self.run.train), self.number + 1)
        self.number += 1
        if not epoch.finite:
            self.ended = f"loss is not finite at epoch {epoch.number}"
        return epoch

    def costs(self) -> dict[str, float]:
        """No costs: a custom loop may report them in the `metrics` of its epochs."""
        return {}

    def save(self, directory: str | Path) -> None:
        """Write the position, and let the loop save."""
        state: dict[str, Any] = {"number": self.number, "ended": self.ended}
        if self._has_checkpoints():
            self.loop.save(str(self._inner(directory)))
            state["random"] = self.random.state_dict()
        checkpoint.save(directory, state)

    def load(self, directory: str | Path) -> None:
        """Go on from what `save` wrote; call it on a new loop.

        Raises:
            CheckpointError: if it is damaged.
        """
        state = checkpoint.load(directory)
        if self._has_checkpoints():
            self.loop.load(str(self._inner(directory)))
            self.random.load_state_dict(state["random"])
            self.number = state["number"]
        else:
            for _ in range(state["number"]):
                next(self)
        self.ended = state["ended"]

    def close(self) -> None:
        """End what the loop has started, such as a process."""
        if isinstance(self.loop, FunctionLoop):
            self.loop.close()

    def _has_checkpoints(self) -> bool:
        return all(callable(getattr(self.loop, name, None)) for name in ("save", "load"))

    def _inner(self, directory: str | Path) -> Path:
        folder = Path(directory) / INNER
        folder.mkdir(parents=True, exist_ok=True)
        return folder
