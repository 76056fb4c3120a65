"""Whatever a user's loop returns on its n-th epoch is an epoch, or an outcome with one line."""

import pytest

from tests.trainables.samples import BASE
from trainables.trial import Trial


def second_step(loss, capfd):
    trial = Trial()
    words = {"train": "tests.trainables.samples.odd", "net_config": {"loss": loss}, "trial": {"seed": 1}}
    trial.begin(BASE | words, gpu_share=0)
    assert trial.step()["val_loss"] == 1.0
    result = trial.step()
    assert len(capfd.readouterr().out) == 2**20  # printed, and nobody's hindrance
    return result


@pytest.mark.parametrize("loss", ["number", "tensor", "array"])
def test_a_number_in_any_wrapping_is_a_loss(loss, capfd):
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
def test_anything_else_is_an_outcome_with_one_line(loss, outcome, reason, capfd):
    result = second_step(loss, capfd)
    assert result["outcome"] == outcome
    assert result["reason"].endswith(reason)
    assert "\n" not in result["reason"]
