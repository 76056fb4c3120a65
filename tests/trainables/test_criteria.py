"""Criteria as users write them: weights as lists, reductions, signatures; they work, or fail in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from raysweep.config import SweepError, read_sweep
from tests.trainables.samples import data_of, run_of
from tests.trainables.test_outputs import learner_of
from trainables.build import build_criterion, build_net
from trainables.criteria import UNUSABLE
from trainables.run_config import RunError

HERE = "tests.trainables.test_criteria."
CANCER = {"data": "trainables.data.load_breast_cancer", "data_config": {}, "net_config": {}}


class Three(nn.Module):
    """A criterion that also takes the inputs."""

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor, inputs: Any) -> torch.Tensor:
        return (outputs - targets).mean()


class PerRow(nn.Module):
    """A criterion that gives a loss per row."""

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((outputs - targets) ** 2).mean(1)


class Lone(nn.Module):
    """A criterion that returns its number in a list of one."""

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((outputs - targets) ** 2).mean().reshape(1)


@pytest.mark.parametrize(
    ("criterion", "config", "buffer", "values"),
    [
        ("BCEWithLogitsLoss", {"pos_weight": 2.0}, "pos_weight", 2.0),
        ("BCEWithLogitsLoss", {"pos_weight": [2]}, "pos_weight", [2.0]),
        ("CrossEntropyLoss", {"weight": [1, 3], "label_smoothing": 0.1}, "weight", [1.0, 3.0]),
        ("MultiMarginLoss", {"weight": [1, 3], "margin": 2}, "weight", [1.0, 3.0]),
    ],
)
def test_numbers_become_tensors_where_a_criterion_wants_them(
    criterion: str, config: Any, buffer: str, values: Any
) -> None:
    fields = CANCER | {"criterion": f"torch.nn.{criterion}", "criterion_config": config}
    assert build_criterion(run_of(**fields)).state_dict()[buffer].tolist() == values  # type: ignore[attr-defined]
    learner = learner_of(**fields)
    first, *_, last = [learner.epoch().train_loss for _ in range(4)]
    assert last < first


def test_a_criterion_s_weights_are_where_its_net_is() -> None:
    run = run_of(**CANCER, criterion="torch.nn.CrossEntropyLoss", criterion_config={"weight": [1, 3]})
    assert build_criterion(run, torch.device("meta")).state_dict()["weight"].device.type == "meta"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"criterion": "torch.nn.CrossEntropyLoss", "criterion_config": {"weight": [1, 2, 3]}},
            "criterion_config.weight: 3 numbers for 2 classes; give one for each",
        ),
        (
            {"criterion": HERE + "Three"},
            f"criterion: {HERE}Three is called with outputs and targets: missing a required argument: "
            "'inputs'; give it these two, or train by a loop of your own (`train:`)",
        ),
        (
            {"criterion": "torch.nn.MSELoss", "criterion_config": {"reduction": "none"}},
            "criterion: reduction 'none' leaves a loss per row, and training needs one number; use mean or "
            "sum",
        ),
        (
            {"criterion": "torch.nn.CTCLoss"},
            "criterion: torch.nn.CTCLoss takes the lengths of sequences too; train such a net in a loop of "
            "your own (`train:`)",
        ),
    ],
)  # fmt: skip
def test_a_criterion_that_cannot_be_called_so_is_a_line(fields: Any, line: str) -> None:
    with pytest.raises(RunError) as caught:
        learner_of(**CANCER | fields)
    assert str(caught.value) == line


def test_a_loss_per_row_is_a_line() -> None:
    with pytest.raises(
        RunError, match=r"PerRow gives a loss of shape \(32,\), and training needs one number; take"
    ):
        learner_of(criterion=HERE + "PerRow").epoch()


def test_a_loss_in_a_list_of_one_is_a_number() -> None:
    assert learner_of(criterion=HERE + "Lone").epoch().val_loss > 0


def test_a_forgotten_criterion_is_told_what_the_data_are() -> None:
    with pytest.raises(RunError) as caught:
        learner_of(data="trainables.data.load_digits", data_config={})
    assert str(caught.value) == (
        "criterion: torch.nn.MSELoss is for numbers, the data have 10 classes; use "
        "torch.nn.CrossEntropyLoss, or data_config.task: regression"
    )


def test_the_task_overrules_what_class_numbers_look_like() -> None:
    run = run_of(data="trainables.data.load_digits", data_config={"task": "regression"}, net_config={})
    assert build_net(run, data_of(run), torch.device("cpu"))(torch.zeros(2, 64)).shape == (2, 1)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            "criterion: torch.nn.GaussianNLLLoss",
            "run.criterion: torch.nn.GaussianNLLLoss takes a variance as a third",
        ),
        (
            "criterion: torch.nn.MSELoss\n  criterion_config: {reduction: none}",
            "run.criterion: reduction 'none' leaves a loss per row, and training needs one number; use "
            "mean or sum",
        ),
        (
            "criterion: torch.nn.BCELoss\n  outputs: logits",
            "run.outputs: logits, but torch.nn.BCELoss takes probabilities; leave `outputs` out",
        ),
        ("criterion: torch.nn.BCELoss\n  outputs: logit", "run.outputs: 'logit'"),
    ],
)
def test_check_says_it_at_its_line(tmp_path: Path, fields: str, line: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"run:\n  data: trainables.data.load_digits\n  scheduler: null\n  {fields}\n")
    with pytest.raises(SweepError) as caught:
        read_sweep(file)
    assert len(caught.value.problems) == 1
    assert line in str(caught.value)
    assert str(caught.value).startswith(f"{file}:")


def test_every_unusable_criterion_has_a_way_out() -> None:
    assert all(why and way for why, way in UNUSABLE.values())
