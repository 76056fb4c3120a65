"""Whatever a custom loop yields as its n-th epoch is an epoch, or an outcome with one line."""

from __future__ import annotations

from typing import Any

import pytest
from ray.tune.result import AUTO_RESULT_KEYS

from tests.trainables.samples import BASE
from trainables.run_config import RESERVED_METRICS, RunError, read
from trainables.trial import Trial


def second_step(loss: str, capfd: pytest.CaptureFixture[str]) -> Any:
    trial = Trial()
    fields = {"train": "tests.trainables.samples.odd", "net_config": {"loss": loss}, "trial": {"seed": 1}}
    trial.begin(BASE | fields, gpu_share=0)
    assert trial.step()["val_loss"] == 1.0
    result = trial.step()
    assert len(capfd.readouterr().out) == 2**20  # printed, and nobody's hindrance
    return result


@pytest.mark.parametrize("loss", ["number", "tensor", "array"])
def test_a_number_in_any_wrapping_is_a_loss(loss: str, capfd: pytest.CaptureFixture[str]) -> None:
    result = second_step(loss, capfd)
    assert (type(result["val_loss"]), result["val_loss"]) == (float, 0.5)
    assert "outcome" not in result


@pytest.mark.parametrize(
    ("loss", "outcome", "reason"),
    [
        (
            "nan",
            "diverged",
            "train_loss 1.0, val_loss nan at epoch 2; lower the learning rate or set grad_clip",
        ),
        (
            "inf",
            "diverged",
            "train_loss 1.0, val_loss inf at epoch 2; lower the learning rate or set grad_clip",
        ),
        ("none", "failed", "whose val_loss is NoneType None; it should be a number"),
        ("text", "failed", "whose val_loss is str '0.5'; it should be a number"),
        ("pair", "failed", "whose val_loss is Tensor of shape (2,); it should be a number"),
    ],
)
def test_anything_else_is_an_outcome_with_one_line(
    loss: str, outcome: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    result = second_step(loss, capfd)
    assert result["outcome"] == outcome
    assert result["reason"].endswith(reason)
    assert "\n" not in result["reason"]


def first_result(**fields: Any) -> Any:
    trial = Trial()
    trial.begin(BASE | fields | {"trial": {"seed": 1}}, gpu_share=0)
    return trial.step()


@pytest.mark.parametrize("name", ["done", "error", "epoch", "val_loss", "flops", "a/b", ""])
def test_a_metric_of_a_loop_that_means_something_else_is_refused(name: str) -> None:
    result = first_result(train="tests.trainables.samples.naming", net_config={"name": name})
    start = f"train: tests.trainables.samples.naming yields an Epoch with metrics[{name!r}]: {name!r} is "
    assert (result["outcome"], result["reason"][: len(start)]) == ("failed", start)


@pytest.mark.parametrize("name", ["done", "lr", "a/b"])
def test_so_is_one_of_the_run_config(name: str) -> None:
    with pytest.raises(RunError) as caught:
        read(BASE | {"metrics": {name: "math.tau"}})
    assert str(caught.value).startswith(f"run.metrics.{name}: {name!r} is ")


def test_every_name_of_a_result_is_reserved() -> None:
    """Ours, an outcome's and Ray's; users may redefine `accuracy` and `r2`."""
    names = set(first_result()) | set(first_result(net="no.such.Net")) | set(AUTO_RESULT_KEYS)
    assert names - {"accuracy", "r2"} <= RESERVED_METRICS
