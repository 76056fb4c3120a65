"""One net on several devices: two processes of the CPU, over gloo."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainables.custom_loop import CustomLoop
from trainables.data import load
from trainables.run_config import RunError, read

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
RUN = {
    "data": "trainables.data.load_digits",
    "criterion": "torch.nn.CrossEntropyLoss",
    "train": "trainables.ddp.DistributedTraining",
    "epochs": 3,
    "optimizer": "torch.optim.AdamW",
    "optimizer_config": {"lr": 0.003},
    "scheduler": None,
}


def test_two_processes_train_one_net_and_resume_it_to_the_last_bit(tmp_path: Path) -> None:
    run = read(RUN)
    data = load(run)
    whole = CustomLoop(run, data, seed=1)
    epochs = [next(whole), next(whole)]
    whole.save(tmp_path)
    epochs.append(next(whole))
    assert epochs[2].val_loss < epochs[0].val_loss
    again = CustomLoop(run, data, seed=1)
    again.load(tmp_path)
    last = next(again)
    assert (last.train_loss, last.val_loss, last.metrics) == (
        epochs[2].train_loss,
        epochs[2].val_loss,
        epochs[2].metrics,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"net_config": {"no_such": 1}}, "no_such"),  # in a process: its traceback is the trial's
        ({"data_config": {"folds": 3}}, "drop data_config.folds"),
        ({"batch_size": 1}, "1 rows for 2 processes; raise it"),
    ],
)
def test_what_goes_wrong_in_a_process_is_the_trials_error(words: dict[str, object], message: str) -> None:
    run = read(RUN | words)
    data = load(run)
    with pytest.raises((RuntimeError, RunError), match=message):
        next(CustomLoop(run, data, seed=1))
