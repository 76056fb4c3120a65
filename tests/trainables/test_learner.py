"""One net on one part: how nets, losses, metrics and rows fit together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pytorch_optimizer
import torch

from tests.trainables.samples import data_of, run_of
from trainables import learner as learner_module
from trainables.batches import BatchLoader
from trainables.data import Split
from trainables.learner import Learner
from trainables.optimizers import DECOMPOSES
from trainables.rng_state import RngState
from trainables.run_config import RunError

CPU = torch.device("cpu")
DIGITS = {"data": "trainables.data.load_digits", "data_config": {}}
CANCER = {"data": "trainables.data.load_breast_cancer", "data_config": {}}


def learner_of(**fields: Any) -> Learner:
    run = run_of(**fields)
    data = data_of(run)
    with RngState(0, CPU).own():  # the initial weights
        return Learner(run, data, data.parts[0], CPU, 0)


@pytest.mark.parametrize(
    ("net", "config"),
    [
        ("trainables.mlp.MLP", {"nodes": 4}),
        ("tests.trainables.samples.Plain", {"width": 4}),
        ("tests.trainables.samples.Template", {"nodes": 4}),
        ("torch.nn.Linear", {}),
    ],
)
def test_a_net_gets_its_sizes_from_the_data(net: str, config: Any) -> None:
    scores = learner_of(net=net, net_config=config).epoch()
    assert np.isfinite([scores.train_loss, scores.val_loss, scores.grad_norm]).all()


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"net": "tests.trainables.samples.TwoOutputs"},
            "net: its forward returns a tuple; return one tensor, (rows, ...)",
        ),
        (
            {"net": "tests.trainables.samples.TwoClasses"},
            "net: tests.trainables.samples.TwoClasses has 2 outputs for 10 classes; "
            "`out_features` is filled in with their number",
        ),
        (
            {"optimizer": "torch.optim.AdamW", "optimizer_config": {"betas": 0.9}},
            "optimizer: torch.optim.AdamW: TypeError: 'float' object is not subscriptable",
        ),
        ({"metrics": {"m": "math.sqrt"}}, "run.metrics.m: TypeError: math.sqrt() takes exactly one argument"),
    ],
)
def test_an_error_of_a_part_names_the_part(fields: dict[str, Any], line: str) -> None:
    config = {"criterion": "torch.nn.CrossEntropyLoss", "net_config": {}, **fields}
    with pytest.raises(RunError) as caught:
        learner_of(**DIGITS, **config).epoch()
    assert str(caught.value).startswith(line)


def test_a_misspelt_keyword_of_a_net_is_an_error() -> None:
    with pytest.raises(RunError, match=r"trainables\.mlp\.MLP: got an unexpected keyword argument 'node'"):
        learner_of(net_config={"node": 4})


def test_a_function_that_makes_no_net_is_an_error() -> None:
    with pytest.raises(RunError, match="made a dict, not a"):
        learner_of(net="builtins.dict", net_config={})


@pytest.mark.parametrize(
    ("fields", "criterion"),
    [
        (DIGITS, "torch.nn.CrossEntropyLoss"),
        (CANCER, "torch.nn.CrossEntropyLoss"),
        (CANCER, "torch.nn.BCEWithLogitsLoss"),
        ({}, "torch.nn.MSELoss"),
        ({}, "torch.nn.HuberLoss"),
    ],
)
def test_a_criterion_gets_targets_of_its_kind(fields: Any, criterion: str) -> None:
    scores = learner_of(**fields, criterion=criterion).epoch()
    assert np.isfinite(scores.val_loss)


@pytest.mark.parametrize(
    ("fields", "criterion", "sentence"),
    [
        (DIGITS, "torch.nn.MSELoss", "the data have 10 classes; use torch.nn.CrossEntropyLoss"),
        (DIGITS, "torch.nn.KLDivLoss", "the data have 10 classes; use torch.nn.CrossEntropyLoss"),
        (DIGITS, "torch.nn.BCEWithLogitsLoss", "is for 2 classes, not 10"),
        ({}, "torch.nn.CrossEntropyLoss", "the data are a regression"),
    ],
)
def test_a_criterion_for_the_other_task_is_an_error(fields: Any, criterion: str, sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        learner_of(**fields, criterion=criterion).epoch()


def test_outputs_of_shape_n_are_compared_with_targets_of_shape_n_by_1() -> None:
    """Broadcast, there would be n x n differences; the loss must be that of the pairs."""
    learner = learner_of(net="tests.trainables.samples.Template", net_config={"nodes": 4})
    with torch.no_grad():
        outputs = learner.net(torch.from_numpy(learner.part.val.x)).numpy()
    expected = ((outputs - learner.part.val.y[:, 0]) ** 2).mean()
    assert learner.evaluate(learner.part.val)["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_net_with_too_many_outputs_for_the_targets_is_an_error() -> None:
    with pytest.raises(RunError, match=r"answers \(32, 3\) for targets of shape \(32, 1\)"):
        learner_of(net="torch.nn.Linear", net_config={"out_features": 3}).epoch()


def test_metrics_of_a_regression_are_in_the_targets_own_units() -> None:
    """Diabetes targets are in the hundreds; their standardised errors are below 2."""
    fields = {"data": "trainables.data.load_diabetes", "data_config": {}}
    scores = learner_of(**fields, metrics={"mae": "tests.trainables.samples.mae"}).epoch()
    assert set(scores.metrics) == {"r2", "mae", "val_loss_raw"}
    assert 20 < scores.metrics["mae"] < 200


def test_accuracy_is_the_share_of_right_answers() -> None:
    learner = learner_of(**DIGITS, criterion="torch.nn.CrossEntropyLoss")
    learner.net.eval()
    right = learner.net(torch.from_numpy(learner.part.val.x)).argmax(1).numpy() == learner.part.val.y
    assert learner.evaluate(learner.part.val)["accuracy"] == pytest.approx(right.mean())


def test_init_is_applied_to_matrices_and_not_to_biases() -> None:
    net = learner_of(init="tests.trainables.samples.constant_init").net
    for parameter in net.parameters():
        assert bool((parameter == 0.125).all()) == (parameter.ndim >= 2)


def test_grad_clip_bounds_the_step() -> None:
    """SGD at rate 1 with clipped gradients moves no further than the clip in each of its steps."""
    fields = {"optimizer": "torch.optim.SGD", "optimizer_config": {"lr": 1.0}, "scheduler": None}
    learner = learner_of(**fields, scheduler_config={}, batch_size=300, grad_clip=0.01)
    before = torch.cat([parameter.detach().flatten().clone() for parameter in learner.net.parameters()])
    learner.epoch()
    after = torch.cat([parameter.detach().flatten() for parameter in learner.net.parameters()])
    assert float((after - before).norm()) <= 0.01 + 1e-6


def test_bf16_trains_in_lower_precision() -> None:
    full, half = (learner_of(precision=precision).epoch().val_loss for precision in ("fp32", "bf16"))
    assert half == pytest.approx(full, rel=0.1)
    assert half != full


@pytest.mark.parametrize("optimizer", ["pytorch_optimizer.SPlus", "pytorch_optimizer.SOAP"])
def test_a_matrix_optimizer_gets_no_gradient_of_a_non_finite_loss(
    optimizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decomposition of a NaN is finite on a CPU, and may make the GPU unusable on a GPU."""
    learner = learner_of(optimizer=optimizer, optimizer_config={"lr": 0.1})
    assert learner.epoch().train_loss < 10
    monkeypatch.setattr(learner, "criterion", lambda outputs, _: outputs.sum() * float("nan"))
    monkeypatch.setattr(learner.optimizer, "step", lambda *_: pytest.fail("it took a step"))
    scores = learner.epoch()
    assert np.isnan([scores.train_loss, scores.val_loss]).all()


def test_the_classes_that_decompose_are_the_librarys() -> None:
    assert all(hasattr(pytorch_optimizer, name) for name in DECOMPOSES)


@pytest.mark.parametrize(("folds", "resident"), [(2, True), (8, False)])
def test_folds_share_the_room_that_data_may_take_on_the_device(
    folds: Any, resident: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folds are trained side by side: each alone would fit."""
    run = run_of(data_config={**run_of().data_config, "folds": folds})
    data = data_of(run)
    part = data.parts[0]
    one = 2 * (part.train.x.nbytes + part.train.y.nbytes) + part.val.x.nbytes + part.val.y.nbytes
    monkeypatch.setattr(learner_module, "device_budget", lambda _: int(one * 3))
    with RngState(0, CPU).own():
        assert Learner(run, data, part, CPU, 0).feed.resident is resident


def test_a_frozen_parameter_is_left_alone() -> None:
    learner = learner_of(net="tests.trainables.samples.HalfFrozen", net_config={})
    before = learner.net.frozen.weight.clone()  # type: ignore[operator]
    learner.epoch()
    assert torch.equal(before, learner.net.frozen.weight)  # type: ignore[arg-type]


def test_optimizers_that_average_weights_validate_with_the_average() -> None:
    """`weights` returns the averaged weights, with which val_loss was measured, not the trained ones."""
    learner = learner_of(optimizer="pytorch_optimizer.SPlus")
    val_loss = learner.epoch().val_loss
    trained = {name: value.clone() for name, value in learner.net.state_dict().items()}
    assert any(not torch.equal(trained[name], value) for name, value in learner.weights().items())
    assert learner.evaluate(learner.part.val)["loss"] == pytest.approx(val_loss, rel=1e-5)
    assert all(torch.equal(trained[name], value) for name, value in learner.net.state_dict().items())


def test_weights_can_be_asked_of_an_optimizer_that_has_not_stepped() -> None:
    """SPlus.eval() before its first step raises KeyError; there is no average yet."""
    assert learner_of(optimizer="pytorch_optimizer.SPlus").weights()


@pytest.mark.parametrize("rows_per_batch", [1, 7, 32, 179, 180, 500])
def test_streamed_batches_are_the_resident_ones(rows_per_batch: int) -> None:
    part = data_of(run_of()).parts[0]
    resident, streamed = (BatchLoader(part, CPU, rows_per_batch, 3, budget) for budget in (None, 0))
    assert (resident.resident, streamed.resident) == (True, False)
    for _ in range(2):
        pairs = zip(resident.batches(), streamed.batches(), strict=True)
        assert all(torch.equal(a, b) for left, right in pairs for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_rows_that_go_by_pinned_memory_are_the_same(
    dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU memory cannot be pinned: the copy is made directly from the rows."""
    pinned: list[torch.Tensor] = []

    def pin(rows: torch.Tensor) -> torch.Tensor:
        pinned.append(rows)
        return rows

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    feed = BatchLoader(data_of(run_of()).parts[0], CPU, 8, 3, 0, dtype=dtype)
    rows = Split(feed.train.x[:8], feed.train.y[:8])
    for one, other in zip(feed.put(rows), feed.put_pinned(rows), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    assert len(pinned) == 2


@pytest.mark.parametrize("rows_per_batch", [7, 32, 179, 180, 500])
def test_an_epoch_sees_every_row_once_but_a_lone_last_one(rows_per_batch: int) -> None:
    """Batches of 179 would leave one of 180 rows alone, for which batch norm cannot be computed."""
    feed = BatchLoader(data_of(run_of()).parts[0], CPU, rows_per_batch, 3)
    sizes = [len(x) for x, _ in feed.batches()]
    assert sizes == feed.sizes
    assert sum(sizes) == (179 if rows_per_batch == 179 else 180)
    assert len({float(value) for x, _ in feed.batches() for value in x}) == sum(sizes)
