"""Precision and determinism: set for one trial, not for the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainables.samples import BASE, data_of, run_of
from trainables.custom_loop import start_custom_loop
from trainables.precision import apply_arithmetic, autocast
from trainables.process_state import ProcessState
from trainables.run_config import Precision, RunConfig, RunError
from trainables.training import Training
from trainables.trial import Trial

ADAM = {"optimizer": "torch.optim.AdamW", "optimizer_config": {"lr": 0.003}}


def flags() -> tuple[Any, ...]:
    backends: Any = torch.backends
    return (
        torch.get_deterministic_debug_mode(),
        backends.cuda.matmul.fp32_precision,
        backends.cudnn.conv.fp32_precision,
        backends.cudnn.rnn.fp32_precision,
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"deterministic": True}, {0: 1}),  # debug mode 1: an operation without such an algorithm warns
        ({"precision": "tf32"}, {1: "tf32", 2: "tf32", 3: "tf32"}),
        ({"precision": "bf16"}, {}),
        ({}, {}),
    ],
)
def test_what_a_trial_computes_in_is_its_own_and_not_the_next_ones(
    fields: dict[str, Any], expected: dict[int, Any]
) -> None:
    before, process = flags(), ProcessState()
    with process.own():
        apply_arithmetic(run_of(**fields))
        during = flags()
    assert during == tuple(expected.get(place, value) for place, value in enumerate(before))
    assert flags() == before


def test_a_trial_that_asks_for_deterministic_algorithms_trains_under_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = Trial()
    trial.begin({**BASE, "trial": {"seed": 3}, "deterministic": True}, 0.0)
    modes: list[int] = []
    epoch = Training.__next__
    monkeypatch.setattr(
        Training,
        "__next__",
        lambda self: (modes.append(torch.get_deterministic_debug_mode()), epoch(self))[1],  # type: ignore[func-returns-value]
    )
    assert "outcome" not in trial.step()
    assert modes == [1]
    assert torch.get_deterministic_debug_mode() == 0


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_a_net_answers_in_the_runs_precision(precision: Precision, dtype: torch.dtype) -> None:
    with autocast(precision, torch.device("cpu")):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_fp16_trains_with_its_loss_scaled_and_resumes_to_the_last_bit(
    tmp_path: Path,
) -> None:
    run = run_of(**ADAM, precision="fp16", epochs=3)
    data = data_of(run)
    whole = start_custom_loop(run, data, seed=3)
    epochs = [next(whole)]
    whole.save(tmp_path)
    epochs += [next(whole), next(whole)]
    assert isinstance(whole, Training)
    scale = whole.learners[0].scaler.state_dict()
    assert scale["scale"] > 1
    again = start_custom_loop(run, data, seed=3)
    again.load(tmp_path)
    rest = [next(again), next(again)]
    assert [(e.train_loss, e.val_loss) for e in rest] == [(e.train_loss, e.val_loss) for e in epochs[1:]]
    assert all(epoch.finite for epoch in epochs)


def test_an_optimizer_that_computes_the_loss_itself_is_refused_in_fp16() -> None:
    run = run_of(optimizer="torch.optim.LBFGS", optimizer_config={"lr": 0.1}, precision="fp16")
    with pytest.raises(RunError, match=r"^precision: fp16 scales the loss once .*LBFGS.*; use bf16$"):
        start_custom_loop(run, data_of(run))


def test_a_loop_that_names_devices_is_handed_all_of_its_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    from trainables.device import devices_beside

    assert devices_beside(torch.device("cuda:0")) == [torch.device("cuda", 0), torch.device("cuda", 1)]
    run = RunConfig.model_validate({**BASE, "train": f"{__name__}.loop_of_devices"})
    start_custom_loop(run, data_of(run))
    assert [[torch.device("cpu")]] == GIVEN


GIVEN: list[list[torch.device]] = []


def loop_of_devices(run: Any, data: Any, *, device: Any, devices: list[Any], seed: int) -> Any:
    GIVEN.append(devices)
    return iter(())
