"""A training function of a `config`: it yields metrics, and may yield a state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from trainables.custom_loop import CustomLoop
from trainables.data import load
from trainables.run_config import RunConfig, RunError
from trainables.trial import Trial
from trainables.tune import TorchTrainable

HERE = "tests.trainables.test_function_loop"
CALLS: list[Any] = []


def plain(config: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    for number in range(1, 10):
        yield {"score": config["scale"] * number}


def stateful(config: Mapping[str, Any], state: Any = None) -> Iterator[Any]:
    CALLS.append(state)
    total = {"value": 0} if state is None else state
    while True:
        total["value"] += 1
        yield ({"score": total["value"]}, total) if total["value"] % 2 else {"score": total["value"]}


def losing(config: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    yield {"val_loss": float("nan"), "score": 1.0}


def undefined_score(config: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    yield {"val_loss": 1.0, "score": float("nan")}


def returns(config: Mapping[str, Any]) -> dict[str, float]:
    return {"score": 1.0}


def yields_numbers(config: Mapping[str, Any]) -> Iterator[float]:
    yield 0.5


def yields_epoch(config: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    yield {"epoch": 1, "score": 0.5}


def yields_words(config: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    yield {"score": "good"}


def stateless_with_state(config: Mapping[str, Any]) -> Iterator[Any]:
    yield {"score": 1.0}, {"weights": 1}


def loop_of(name: str, **config: Any) -> CustomLoop:
    run = RunConfig(train=f"{HERE}.{name}", train_config=config, epochs=6)
    return CustomLoop(run, load(run))


def step_of(name: str) -> dict[str, Any]:
    trial = Trial()
    trial.begin({"train": f"{HERE}.{name}", "epochs": 3, "trial": {"id": "0"}}, gpu_share=0)
    return trial.step()


def test_its_epochs_are_numbered_and_hold_its_metrics() -> None:
    epochs = list(loop_of("plain", scale=2.0))
    assert [(epoch.number, epoch.metrics) for epoch in epochs] == [
        (number, {"score": 2.0 * number}) for number in range(1, 7)
    ]


def test_a_result_names_no_loss_that_was_not_yielded() -> None:
    trial = Trial()
    fields = {"train": f"{HERE}.plain", "train_config": {"scale": 1.0}, "epochs": 3, "trial": {"id": "0"}}
    trial.begin(fields, gpu_share=0)
    result = trial.step()
    assert result["score"] == 1.0
    assert not {"val_loss", "train_loss"} & result.keys()


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_it_goes_on_from_its_last_state(epochs: int, tmp_path: Path) -> None:
    """A state is yielded at every other epoch; epochs after it are run again, unreported."""
    straight = [epoch.metrics["score"] for epoch in loop_of("stateful")]
    first = loop_of("stateful")
    for _ in range(epochs):
        next(first)
    first.save(tmp_path)
    second = loop_of("stateful")
    second.load(tmp_path)
    assert [epoch.number for epoch in second] == list(range(epochs + 1, 7))
    third = loop_of("stateful")
    third.load(tmp_path)
    assert [epoch.metrics["score"] for epoch in third] == straight[epochs:]


def test_a_state_is_kept_as_it_was_when_it_was_yielded(tmp_path: Path) -> None:
    """The function goes on to change the objects that it has yielded."""
    first = loop_of("stateful")
    for _ in range(4):
        next(first)
    first.save(tmp_path)
    second = loop_of("stateful")
    second.load(tmp_path)
    CALLS.clear()
    next(second)
    assert CALLS == [{"value": 5}]  # what it was called with has gone on from 3 since


def test_a_function_without_states_is_run_anew_up_to_where_it_was(tmp_path: Path) -> None:
    first = loop_of("plain", scale=1.0)
    for _ in range(2):
        next(first)
    first.save(tmp_path)
    second = loop_of("plain", scale=1.0)
    second.load(tmp_path)
    assert next(second).metrics == {"score": 3.0}


@pytest.mark.parametrize(("name", "outcome"), [("losing", "diverged"), ("undefined_score", None)])
def test_only_a_loss_that_is_no_number_ends_it_as_diverged(name: str, outcome: str | None) -> None:
    assert step_of(name).get("outcome") == outcome


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("returns", "returned dict; it should yield a dictionary of metrics after each epoch"),
        ("yields_numbers", "yields float 0.5; it should yield a dictionary of metrics, as in"),
        ("yields_epoch", "yields a dictionary with 'epoch': 'epoch' is taken"),
        ("yields_words", "yields a dictionary whose 'score' is str 'good'; it should be a number"),
        ("stateless_with_state", "yields a state but cannot be called with one; give it a second parameter"),
    ],
)
def test_what_cannot_be_an_epoch_is_one_line(name: str, message: str) -> None:
    result = step_of(name)
    assert result["outcome"] == "failed"
    assert message in result["reason"]
    assert "\n" not in result["reason"]


def test_without_data_only_a_loop_of_ones_own_runs() -> None:
    with pytest.raises(RunError) as caught:
        load(RunConfig())
    assert str(caught.value) == "run.data: missing; only a loop of your own (`train`) does without"


def test_several_epochs_without_a_loss_are_handed_over_together() -> None:
    trainable = TorchTrainable({"train": f"{HERE}.plain", "train_config": {"scale": 1.0}, "epochs": 3})
    results = trainable.train_buffered(3, 60.0)
    assert [result["score"] for result in results] == [1.0, 2.0, 3.0]
