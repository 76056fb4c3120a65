"""A user's training function of its `config` alone: it yields a dictionary of metrics after each epoch.

    def train(config):
        model = make(config["lr"])
        for _ in range(100):
            yield {"loss": model.epoch(), "accuracy": model.score()}

The epochs are numbered as they come. `yield metrics, state` gives with the metrics whatever is needed to go
on after this epoch, and `def train(config, state=None)` is called with it to do so. A function without states
is run anew, unreported, up to the epoch it had reached.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainables.imports import parameters, resolve
from trainables.run_config import RunError
from trainables.training import Epoch

STATE = "state.pt"
LOSSES = ("train_loss", "val_loss")


@dataclass(frozen=True, slots=True)
class MetricsEpoch(Epoch):
    """An epoch of which only its metrics are known.

    Attributes:
        named: those of `train_loss` and `val_loss` that are among them.
    """

    named: tuple[str, ...] = ()

    @property
    def losses(self) -> dict[str, float]:
        """The metrics that are called a loss: one that is not finite ends the training as diverged."""
        own = {name: value for name, value in self.metrics.items() if "loss" in name}
        return {name: getattr(self, name) for name in self.named} | own


def function_loop(path: str, config: Mapping[str, Any]) -> FunctionLoop:
    """The loop of a function of its `config`; it keeps states if the function can go on from one."""
    kind = ResumableFunctionLoop if "state" in parameters(resolve(path)) else FunctionLoop
    return kind(path, config)


class FunctionLoop:
    """Turns what a function yields into epochs.

    Args:
        path: dotted, of the function.
        config: what it is called with; its own copy.
    """

    def __init__(self, path: str, config: Mapping[str, Any]) -> None:
        self.path, self.config = path, copy.deepcopy(dict(config))
        self.begin_at, self.skip = 0, 0  # epochs behind the state it begins with, epochs to run unreported

    def __iter__(self) -> Iterator[Epoch]:
        """Call the function, and number what it yields.

        Raises:
            RunError: if it is no generator, or yields anything but metrics.
        """
        yields = self._call()
        if not isinstance(yields, Iterator):
            raise RunError(
                f"train: {self.path} returned {type(yields).__name__}; "
                "it should yield a dictionary of metrics after each epoch"
            )
        started, number = time.perf_counter(), self.begin_at
        for said in yields:
            number += 1
            metrics = self._take(said, number)
            now = time.perf_counter()
            if self.skip:
                self.skip -= 1
            else:
                yield as_epoch(metrics, number, now - started, self.path)
            started = time.perf_counter()

    def close(self) -> None:
        """End what it has started: nothing, of a function."""

    def _call(self) -> Any:
        return resolve(self.path)(self.config)

    def _take(self, said: Any, number: int) -> Any:
        """The metrics of what was yielded.

        Raises:
            RunError: if there is a state with them, and nobody to take it.
        """
        if isinstance(said, tuple) and len(said) == 2:
            raise RunError(
                f"train: {self.path} yields a state but cannot be called with one; "
                "give it a second parameter: def train(config, state=None)"
            )
        return said


class ResumableFunctionLoop(FunctionLoop):
    """The same of a function that can go on from a state it has yielded."""

    def __init__(self, path: str, config: Mapping[str, Any]) -> None:
        super().__init__(path, config)
        self.state: Any = None
        self.state_at, self.number = 0, 0

    def save(self, directory: str) -> None:
        """Write the last state that was yielded, and of which epoch it is."""
        torch.save({"state": self.state, "at": self.state_at, "number": self.number}, Path(directory) / STATE)

    def load(self, directory: str) -> None:
        """Go on from what `save` wrote; epochs since the state are run anew, unreported."""
        # The user's own objects, which the user's own code wrote: as trusted as that code.
        saved = torch.load(Path(directory) / STATE, map_location="cpu", weights_only=False)
        self.state, self.state_at = saved["state"], saved["at"]
        self.begin_at, self.skip = saved["at"], saved["number"] - saved["at"]
        self.number = saved["number"]

    def _call(self) -> Any:
        state, self.number = copy.deepcopy(self.state), self.begin_at
        return resolve(self.path)(self.config, state=state)

    def _take(self, said: Any, number: int) -> Any:
        self.number = number
        if not (isinstance(said, tuple) and len(said) == 2):
            return said
        metrics, state = said
        self.state, self.state_at = copy.deepcopy(state), number  # training goes on in what it holds
        return metrics


def as_epoch(metrics: Any, number: int, seconds: float, path: str) -> MetricsEpoch:
    """What a function yielded as an epoch.

    Raises:
        RunError: if it is not a dictionary of metrics.

    >>> as_epoch({"val_loss": 0.5, "auc": 0.9}, 1, 2.0, "my.train").losses
    {'val_loss': 0.5}
    """
    if not isinstance(metrics, Mapping) or not metrics:
        raise RunError(
            f"train: {path} yields {type(metrics).__name__} {str(metrics)[:60]}; "
            "it should yield a dictionary of metrics, as in {'loss': 0.5}, or that and a state"
        )
    numbers = dict(metrics)
    own = {
        name: numbers.pop(name) for name in ("train_loss", "val_loss", "lr", "grad_norm") if name in numbers
    }
    named = tuple(name for name in LOSSES if name in own)
    epoch = {"train_loss": math.nan, "val_loss": math.nan, **own}
    return MetricsEpoch(number, metrics=numbers, seconds=seconds, named=named, **epoch)
