"""The training loop: a seed gives one curve, to the last bit."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainables.samples import OPTIMIZERS, SCHEDULES, data_of, numbers, run_of
from trainables.checkpoint import CheckpointError
from trainables.data import Data
from trainables.run_config import EarlyStopping, RunConfig
from trainables.training import Epoch, Patience, Training, train


def curve(
    epochs: Any,
) -> list[Any]:
    return [numbers(epoch) for epoch in epochs]


def resumed(
    run: RunConfig, data: Data, cut: int, folder: Path, between: Callable[..., Any] = lambda: None
) -> list[Any]:
    """The curve of a training that is saved after `cut` epochs and resumed in a new object."""
    first = Training(run, data)
    before = [next(first) for _ in range(cut)]
    first.save(folder)
    between()
    return curve([*before, *train(run, data, resume=folder)])


def shake() -> None:
    """What another trial in the same process does to the global generators."""
    torch.manual_seed(99)
    torch.rand(7)
    np.random.seed(99)  # noqa: NPY002 - the global generator is what is shaken
    random.seed(99)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_cut_at_any_epoch_goes_on_to_the_last_bit(
    optimizer: str, schedule: str, tmp_path: Path
) -> None:
    """Dropout draws from torch's global generator; the optimizer, schedule and order are restored too."""
    fields = OPTIMIZERS[optimizer] | SCHEDULES[schedule]  # type: ignore[operator]
    run = run_of(**fields, net_config={"nodes": 8, "layers": 2, "dropout": 0.2})
    data = data_of(run)
    whole = curve(train(run, data))
    for cut in range(1, run.epochs):
        assert resumed(run, data, cut, tmp_path / str(cut), shake) == whole


@pytest.mark.parametrize(
    "fields",
    [
        {"warmup": 0.4},
        {"net_config": {"nodes": 8, "layers": 2, "norm": "batch"}},
        {"net": "tests.trainables.samples.Noisy", "net_config": {}},
        {"data_config": {"rows": 300, "folds": 3}},
        {"optimizer": "pytorch_optimizer.ScheduleFreeAdamW"},
        {"precision": "bf16"},
        {"early_stopping_config": {"enabled": True, "patience": 2, "min_delta": 10}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_whatever_else_a_training_depends_on_is_saved(fields: Any, tmp_path: Path) -> None:
    run = run_of(**fields)
    data = data_of(run)
    whole = curve(train(run, data))
    assert resumed(run, data, 1, tmp_path, shake) == whole


def test_two_trainings_side_by_side_do_not_disturb_each_other() -> None:
    run = run_of(net="tests.trainables.samples.Noisy", net_config={})
    data = data_of(run)
    alone = curve(train(run, data))
    left, right = Training(run, data), Training(run, data)
    pairs = [(numbers(next(left)), numbers(next(right))) for _ in range(run.epochs)]
    assert pairs == [(one, one) for one in alone]


def test_a_training_leaves_the_global_generators_as_they_were() -> None:
    run = run_of(net_config={"nodes": 8, "layers": 2, "dropout": 0.2})
    shake()
    expected = torch.rand(3), np.random.random(), random.random()  # noqa: NPY002 - as in shake
    shake()
    list(train(run, data_of(run)))
    got = torch.rand(3), np.random.random(), random.random()  # noqa: NPY002 - as in shake
    assert torch.equal(got[0], expected[0])
    assert got[1:] == expected[1:]


def test_another_seed_gives_another_curve() -> None:
    run = run_of()
    data = data_of(run)
    assert curve(train(run, data, seed=1)) != curve(train(run, data, seed=2))


def test_the_trained_weights_are_bit_equal_too(tmp_path: Path) -> None:
    run = run_of(net_config={"nodes": 8, "layers": 2, "dropout": 0.2})
    data = data_of(run)
    whole, half = Training(run, data), Training(run, data)
    list(whole)
    next(half)
    half.save(tmp_path)
    rest = Training(run, data)
    rest.load(tmp_path)
    list(rest)
    assert all(torch.equal(value, rest.weights()[name]) for name, value in whole.weights().items())


def test_training_learns() -> None:
    """The synthetic function's variance is near 0.7; a small MLP explains most of it."""
    run = run_of(data_config={"rows": 3000}, epochs=10, net_config={"nodes": 64})
    first, *_, last = train(run, data_of(run))
    assert last.val_loss < 0.5 * first.val_loss
    assert last.metrics["r2"] > 0.5


@pytest.mark.parametrize("epochs", [1, 3])
def test_an_epoch_is_numbered_from_one_to_the_last(epochs: int) -> None:
    run = run_of(epochs=epochs)
    training = Training(run, data_of(run))
    assert [epoch.number for epoch in training] == list(range(1, epochs + 1))
    assert training.ended == f"finished all {epochs} epochs"


def test_a_diverged_epoch_is_yielded_with_its_number_and_is_the_last() -> None:
    run = run_of(optimizer="torch.optim.SGD", optimizer_config={"lr": 1e20}, scheduler=None)
    training = Training(run, data_of(run))
    *_, last = training
    assert not last.finite
    assert training.ended == f"loss is not finite at epoch {last.number}"


@pytest.mark.parametrize(
    ("losses", "mode", "min_delta", "last"),
    [
        ([3, 2, 1, 1, 1], "min", 0, 5),
        ([3, 2, 1, 2, 0.5, 1, 1], "min", 0, 7),
        ([3, 2.95, 2.9, 2.85], "min", 0.2, 3),  # each too little better than the first
        ([1, 2, 3, 3, 3], "max", 0, 5),
        ([5, 4, 3, 2, 1], "min", 0, None),
    ],
)
def test_patience_ends_a_trial_after_two_epochs_without_a_better_loss(
    losses: Any, mode: str, min_delta: float, last: int | None
) -> None:
    patience = Patience(EarlyStopping(enabled=True, patience=2, mode=mode, min_delta=min_delta))
    ends = [patience.ends(Epoch(number, loss, loss)) for number, loss in enumerate(losses, start=1)]
    assert [number for number, reason in enumerate(ends, start=1) if reason][:1] == ([last] if last else [])


def test_patience_goes_by_the_metric_it_monitors() -> None:
    wish = EarlyStopping(enabled=True, patience=1, monitor="accuracy", mode="max")
    patience = Patience(wish)
    assert patience.ends(Epoch(1, 1.0, 1.0, {"accuracy": 0.5})) == ""
    assert patience.ends(Epoch(2, 1.0, 2.0, {"accuracy": 0.6})) == ""
    assert (
        patience.ends(Epoch(3, 1.0, 0.1, {"accuracy": 0.6}))
        == "no better accuracy than 0.6 (epoch 2) for 1 epochs"
    )


def test_a_trial_ended_by_patience_says_by_which_loss() -> None:
    config = {"enabled": True, "patience": 1, "min_delta": 100}
    run = run_of(early_stopping_config=config)
    training = Training(run, data_of(run))
    first, second = training
    assert training.ended == f"no better val_loss than {first.val_loss:.6g} (epoch 1) for 1 epochs"
    assert second.number == 2


def test_with_folds_an_epoch_is_the_mean_over_them() -> None:
    run = run_of(data_config={"rows": 300, "folds": 3})
    training = Training(run, data_of(run))
    epoch = next(training)
    losses = [learner.evaluate(learner.part.val)["loss"] for learner in training.learners]
    assert epoch.val_loss == pytest.approx(sum(losses) / 3, rel=1e-5)
    assert len({round(loss, 12) for loss in losses}) == 3


def test_a_checkpoint_of_another_net_is_an_error_of_one_line(tmp_path: Path) -> None:
    run = run_of()
    data = data_of(run)
    Training(run, data).save(tmp_path)
    other = Training(run_of(net_config={"nodes": 9}), data)
    with pytest.raises(CheckpointError, match=r"the checkpoint is of another net: .*size mismatch") as caught:
        other.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_other_folds_is_an_error(tmp_path: Path) -> None:
    run = run_of(data_config={"rows": 300, "folds": 3})
    Training(run, data_of(run)).save(tmp_path)
    with pytest.raises(CheckpointError, match="the checkpoint has 3 folds, the data 1"):
        Training(run_of(), data_of(run_of())).load(tmp_path)


def test_the_gradient_norm_is_before_clipping() -> None:
    clipped, free = (
        next(train(run, data_of(run))).grad_norm
        for run in (run_of(grad_clip=1e-12, batch_size=180), run_of(batch_size=180))
    )
    assert clipped == pytest.approx(free, rel=1e-5)
    assert math.isfinite(free)
