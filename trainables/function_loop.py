"""Runs a user's training function of a `config`, which yields a dictionary of metrics after each epoch.

    def train(config):
        model = make(config["lr"])
        for _ in range(100):
            yield {"loss": model.epoch(), "accuracy": model.score()}

Epochs are numbered in the order of yields. With `yield metrics, state` the function also gives all that it
needs to go on after this epoch, and is called with it to do so: `def train(config, state=None)`. A function
without states is run again, unreported, up to the epoch it had reached.
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
    """An epoch reported as metrics.

    Attributes:
        named: which of `train_loss` and `val_loss` were reported.
    """

    named: tuple[str, ...] = ()

    @property
    def losses(self) -> dict[str, float]:
        """The metrics with "loss" in their names; a non-finite one ends the training as diverged."""
        others = {name: value for name, value in self.metrics.items() if "loss" in name}
        return {name: getattr(self, name) for name in self.named} | others


def function_loop(path: str, config: Mapping[str, Any]) -> FunctionLoop:
    """The loop of a function of a `config`; it is resumable if the function has a parameter `state`."""
    kind = ResumableFunctionLoop if "state" in parameters(resolve(path)) else FunctionLoop
    return kind(path, config)


class FunctionLoop:
    """Turns what a function yields into epochs.

    Args:
        path: dotted path of the function.
        config: its argument, of which it gets a copy.
    """

    def __init__(self, path: str, config: Mapping[str, Any]) -> None:
        self.path, self.config = path, copy.deepcopy(dict(config))
        self.begin_at, self.skip = 0, 0  # epochs trained in the initial state, epochs to run unreported

    def __iter__(self) -> Iterator[Epoch]:
        """Call the function, and number the epochs that it yields.

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
        for yielded in yields:
            number += 1
            metrics = self._accept(yielded, number)
            now = time.perf_counter()
            if self.skip:
                self.skip -= 1
            else:
                yield as_epoch(metrics, number, now - started, self.path)
            started = time.perf_counter()

    def close(self) -> None:
        """Do nothing: a function has started nothing to end."""

    def _call(self) -> Any:
        return resolve(self.path)(self.config)

    def _accept(self, yielded: Any, number: int) -> Any:
        """The metrics of a yielded value.

        Raises:
            RunError: if it has a state, and the function cannot be called with one.
        """
        if isinstance(yielded, tuple) and len(yielded) == 2:
            raise RunError(
                f"train: {self.path} yields a state but cannot be called with one; "
                "give it a second parameter: def train(config, state=None)"
            )
        return yielded


class ResumableFunctionLoop(FunctionLoop):
    """The loop of a function that can go on from a state that it has yielded."""

    def __init__(self, path: str, config: Mapping[str, Any]) -> None:
        super().__init__(path, config)
        self.state: Any = None
        self.state_at, self.number = 0, 0

    def save(self, directory: str) -> None:
        """Write the last yielded state and its epoch."""
        torch.save({"state": self.state, "at": self.state_at, "number": self.number}, Path(directory) / STATE)

    def load(self, directory: str) -> None:
        """Go on from what `save` wrote; epochs since the state are run again, unreported."""
        # The user's own objects, written by the user's code, and as trusted as that.
        saved = torch.load(Path(directory) / STATE, map_location="cpu", weights_only=False)
        self.state, self.state_at = saved["state"], saved["at"]
        self.begin_at, self.skip = saved["at"], saved["number"] - saved["at"]
        self.number = saved["number"]

    def _call(self) -> Any:
        state, self.number = copy.deepcopy(self.state), self.begin_at
        return resolve(self.path)(self.config, state=state)

    def _accept(self, yielded: Any, number: int) -> Any:
        self.number = number
        if not (isinstance(yielded, tuple) and len(yielded) == 2):
            return yielded
        metrics, state = yielded
        self.state, self.state_at = copy.deepcopy(state), number  # the function goes on to change its state
        return metrics


def as_epoch(metrics: Any, number: int, seconds: float, path: str) -> MetricsEpoch:
    """The epoch of a function's metrics.

    Raises:
        RunError: if they are no dictionary.

    >>> as_epoch({"val_loss": 0.5, "auc": 0.9}, 1, 2.0, "my.train").losses
    {'val_loss': 0.5}
    """
    if not isinstance(metrics, Mapping) or not metrics:
        raise RunError(
            f"train: {path} yields {type(metrics).__name__} {str(metrics)[:60]}; "
            "it should yield a dictionary of metrics, as in {'loss': 0.5}, or that and a state"
        )
    numbers = dict(metrics)
    fields = {name: numbers.pop(name) for name in (*LOSSES, "lr", "grad_norm") if name in numbers}
    named = tuple(name for name in LOSSES if name in fields)
    fields = {**dict.fromkeys(LOSSES, math.nan), **fields}
    return MetricsEpoch(number, metrics=numbers, seconds=seconds, named=named, **fields)
