"""Groups of parameters with settings of their own: their members and learning rates."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.trainables.samples import data_of, run_of
from trainables.learner import Learner
from trainables.run_config import RunError, read

CPU = torch.device("cpu")
NORMS = {"norms": {"max_ndim": 1, "optimizer_config": {"weight_decay": 0.0}}}


def learner_of(**fields: Any) -> Learner:
    run = run_of(**({"optimizer": "torch.optim.AdamW", "optimizer_config": {"lr": 0.1}} | fields))
    data = data_of(run)
    return Learner(run, data, data.parts[0], CPU, 0)


def test_biases_can_be_spared_the_weight_decay() -> None:
    rest, norms = learner_of(param_groups=NORMS).optimizer.param_groups
    assert (rest["weight_decay"], norms["weight_decay"]) == (0.01, 0.0)
    assert {p.ndim for p in norms["params"]} == {1}
    assert {p.ndim for p in rest["params"]} == {2}


def test_a_parameter_belongs_to_the_first_group_that_takes_it() -> None:
    learner = learner_of(param_groups={"first": {"match": "weight$"}, "all": {}})
    first, rest = learner.optimizer.param_groups
    assert {id(p) for p in first["params"]} == {
        id(p) for name, p in learner.net.named_parameters() if name.endswith("weight")
    }
    assert len(first["params"]) + len(rest["params"]) == len(list(learner.net.parameters()))


@pytest.mark.parametrize(
    ("scheduler", "config"),
    [
        (None, {}),
        ("torch.optim.lr_scheduler.CosineAnnealingLR", {"T_max": 3}),
        ("torch.optim.lr_scheduler.OneCycleLR", {}),
    ],
)
def test_a_factor_holds_in_every_epoch_of_a_schedule(scheduler: str | None, config: dict[str, Any]) -> None:
    groups = {"slow": {"match": "bias", "lr_factor": 0.25}}
    learner = learner_of(
        param_groups=groups, scheduler=scheduler, scheduler_config=config, epochs=3, warmup=1
    )
    for _ in range(2):
        learner.epoch()
        rest, slow = (group["lr"] for group in learner.optimizer.param_groups)
        assert slow == pytest.approx(0.25 * rest, rel=0.01)


def test_a_factor_holds_where_a_schedule_of_its_own_curve_begins() -> None:
    """An exp-hyperbolic schedule goes from each group's own rate to the smallest one."""
    learner = learner_of(
        param_groups={"slow": {"match": "bias", "lr_factor": 0.25}},
        scheduler="pytorch_scheduler.ExpHyperbolicLRScheduler",
        scheduler_config={"upper_bound": 50},
    )
    assert [group["lr"] for group in learner.optimizer.param_groups] == [0.1, 0.025]


def test_a_schedule_that_levels_the_rates_is_an_error() -> None:
    with pytest.raises(RunError, match="OneCycleLR gives all groups one learning rate"):
        learner_of(
            param_groups={"slow": {"match": "bias", "lr_factor": 0.25}},
            scheduler="torch.optim.lr_scheduler.OneCycleLR",
            scheduler_config={"max_lr": 0.1},
        )


def test_a_group_without_a_parameter_is_an_error() -> None:
    with pytest.raises(RunError, match=r"param_groups\.head: no parameter is left for it; the net has "):
        learner_of(param_groups={"head": {"match": "^head"}})


def test_an_optimizer_that_takes_the_net_has_no_groups() -> None:
    with pytest.raises(RunError, match="AdamMini takes the net as a whole"):
        learner_of(optimizer="pytorch_optimizer.AdamMini", param_groups=NORMS)


def test_a_group_can_keep_matrices_from_muon() -> None:
    learner = learner_of(
        optimizer="pytorch_optimizer.Muon",
        optimizer_config={"lr": 0.02},
        param_groups={"head": {"match": r"weight$", "optimizer_config": {"use_muon": False}}},
    )
    assert [group["use_muon"] for group in learner.optimizer.param_groups] == [False, False]
    learner.epoch()


def test_a_copy_under_other_factors_learns_at_its_own() -> None:
    constant: dict[Any, Any] = {"scheduler": None, "scheduler_config": {}}
    giver = learner_of(param_groups={"slow": {"match": "bias", "lr_factor": 0.5}}, **constant)
    giver.epoch()
    taker = learner_of(param_groups={"slow": {"match": "bias", "lr_factor": 0.125}}, **constant)
    taker.load_state_dict(giver.state_dict(), giver.run)
    assert [group["lr_factor"] for group in taker.optimizer.param_groups if "lr_factor" in group] == [0.125]
    rest, slow = (group["lr"] for group in taker.optimizer.param_groups)
    assert slow == pytest.approx(0.125 * rest, rel=0.01)


@pytest.mark.parametrize(
    ("group", "fault"),
    [
        ({"match": "("}, r"param_groups\.a\.match: '\(' is no regular expression"),
        ({"lr_factor": 0}, r"param_groups\.a\.lr_factor"),
        ({"weight_decay": 0}, r"param_groups\.a\.weight_decay: Extra inputs"),
    ],
)
def test_a_group_of_wrong_words_is_an_error(group: dict[str, Any], fault: str) -> None:
    with pytest.raises(RunError, match=fault):
        read({"data": "trainables.data.load_synthetic", "param_groups": {"a": group}})
