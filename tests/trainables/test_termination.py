"""SIGTERM to a training process: it finishes its step, requests a checkpoint, and leaves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainables.samples import BASE
from trainables.termination import Termination
from trainables.tune import TorchTrainable


class ProcessLeft(BaseException):
    """Stands for the end of the process."""


def ends(number: Any, frame: Any) -> None:
    raise ProcessLeft


@pytest.fixture
def termination() -> Iterator[Any]:
    before = signal.signal(signal.SIGTERM, ends)
    made = Termination(idle_s=0.01)
    made.install()
    yield made
    made.cancel()  # or its timer would end the tests' own process a minute later
    signal.signal(signal.SIGTERM, before)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class Terminated(nn.Linear):
    """Its process gets a SIGTERM in the first forward pass."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.asked = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.asked:
            self.asked = True
            terminate()
        return super().forward(x)


def wait(after: Callable[..., Any] | None = None) -> None:
    if after is not None:
        after()
    while True:
        time.sleep(0.01)


def test_what_is_under_way_is_finished_whatever_number_of_signals(termination: Termination) -> None:
    done = []
    with termination.held_off():
        for _ in range(3):
            terminate()
        done.append("work")
    assert (done, termination.requested) == (["work"], True)
    with pytest.raises(ProcessLeft):
        wait()


def test_a_process_without_work_leaves_by_itself(termination: Termination) -> None:
    with pytest.raises(ProcessLeft):
        wait(after=terminate)


def test_a_call_that_comes_in_time_is_carried_out(termination: Termination) -> None:
    termination.idle_s = 60
    terminate()
    with termination.held_off():
        pass
    assert termination.requested


@pytest.fixture
def trainable(termination: Termination) -> TorchTrainable:
    termination.idle_s = 60
    made = TorchTrainable.__new__(TorchTrainable)
    made.setup(BASE | {"net": f"{__name__}.Terminated", "net_config": {}, "trial": {"seed": 1}})
    made._termination = termination
    return made


def test_the_step_under_way_asks_for_a_checkpoint_and_the_next_one_leaves(trainable: TorchTrainable) -> None:
    result = trainable.step()
    assert result["should_checkpoint"]
    assert "outcome" not in result
    trainable._progress = False  # saved
    with pytest.raises(ProcessLeft):
        trainable.step()


def test_a_process_asked_to_leave_takes_no_other_trial_up(trainable: TorchTrainable) -> None:
    trainable.step()
    with pytest.raises(ProcessLeft):
        trainable.reset_config(BASE)


def test_unsaved_progress_is_worth_one_more_step_and_a_checkpoint(trainable: TorchTrainable) -> None:
    """The signal came between two calls: the driver did not know that it should save."""
    trainable.step()
    result = trainable.step()
    assert (result["epoch"], result["should_checkpoint"]) == (2, True)
