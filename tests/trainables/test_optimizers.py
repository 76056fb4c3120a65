"""Optimizers and schedulers go on exactly from a checkpoint, or are refused in one line."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainables.optimizer_table import optimizers, page, round_trip, run_fields, schedulers
from tests.trainables.samples import BASE
from trainables.checkpoint_integrity import CheckpointError
from trainables.first_step_failed import FirstStepFailed
from trainables.optimizers import UNUSABLE, why_unusable
from trainables.plain_state import from_plain, to_plain
from trainables.tune import TorchTrainable

HERE = "tests.trainables.test_optimizers."
PAGE = Path(__file__).parents[2] / "docs/optimizers.md"

SAMPLE = (
    "torch.optim.LBFGS",  # needs a closure
    "pytorch_optimizer.A2Grad",  # has no rate
    "pytorch_optimizer.AdaShift",  # keeps deques
    "pytorch_optimizer.AdamMini",  # wants the net
    "pytorch_optimizer.Conda",  # keeps objects
    "pytorch_optimizer.Lookahead",  # wraps another
    "pytorch_optimizer.Muon",  # wants matrices in a group of their own
    "pytorch_optimizer.Ranger21",  # wants the number of steps
    "pytorch_optimizer.SAM",  # wraps another, needs a closure
    "pytorch_optimizer.SCION",  # keeps an enum
    "pytorch_optimizer.ScalableShampoo",  # keeps objects
    "pytorch_optimizer.ScheduleFreeWrapper",  # begins in evaluation
    "pytorch_optimizer.CosineScheduler",  # has no state_dict
    "pytorch_optimizer.LinearScheduler",
)


@pytest.mark.parametrize("dotted", SAMPLE)
def test_a_trial_goes_on_from_its_checkpoint_to_the_last_bit(dotted: str) -> None:
    assert round_trip(run_fields(dotted)) == ""


@pytest.mark.nightly
@pytest.mark.parametrize("dotted", [*optimizers(), *schedulers()])
@pytest.mark.filterwarnings("ignore")  # what libraries warn of is theirs
def test_every_class_goes_on_from_its_checkpoint_or_has_a_reason(dotted: Any) -> None:
    assert (round_trip(run_fields(dotted)) == "") is not bool(why_unusable(dotted))


@pytest.mark.nightly
def test_the_page_says_what_holds() -> None:
    assert PAGE.read_text() == page()
    names = {(name.partition(".")[0], name.rpartition(".")[2]) for name in (*optimizers(), *schedulers())}
    assert names >= UNUSABLE.keys()


@pytest.mark.parametrize(
    "dotted", ["pytorch_optimizer.SCION", "pytorch_optimizer.Lookahead", "torch.optim.LBFGS"]
)
def test_a_copy_has_the_settings_of_its_own_config(dotted: str, tmp_path: Path) -> None:
    """Population based training: the donor's weights and moments, the copy's rate."""
    fields = run_fields(dotted)
    donor, copy = (
        trainable(fields),
        trainable(fields | {"optimizer_config": fields["optimizer_config"] | {"lr": 0.02}}),
    )
    donor.step()
    donor.save_checkpoint(str(tmp_path))
    copy.load_checkpoint(str(tmp_path))
    result = copy.step()
    assert (result.get("reason"), result["epoch"], result["lr"]) == (None, 2, 0.02)


class Unwritable(torch.optim.SGD):
    """Has state that a checkpoint cannot hold."""

    def __init__(self, params: list[Any], lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)
        self.state[self.param_groups[0]["params"][0]]["stream"] = (number for number in range(3))


class Extra(nn.Linear):
    """A net with an extra state of its own classes."""

    def __init__(self, in_features: int, out_features: int, kept: str = "deque") -> None:
        super().__init__(in_features, out_features)
        self.kept = {"deque": deque([1.0], 3), "function": lambda: 0}[kept]

    def get_extra_state(self) -> Any:
        return {"kept": self.kept}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.kept = state["kept"]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.kept, deque) and self.training:
            self.kept.append(self.kept[-1] * 0.9)
            return super().forward(x) * self.kept[-1]
        return super().forward(x)


REFUSED = [
    (
        {"optimizer": HERE + "Unwritable", "optimizer_config": {}},
        f"optimizer: {HERE}Unwritable cannot be written to a checkpoint: "
        "state['state'][0]['stream'] is builtins:generator",
    ),
    (
        {"net": HERE + "Extra", "net_config": {"kept": "function"}},
        f"net: {HERE}Extra cannot be written to a checkpoint: "
        "state['_extra_state']['kept'] is builtins:function",
    ),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_what_cannot_be_saved_is_said_before_the_first_epoch(fields: Any, reason: str) -> None:
    made = TorchTrainable.__new__(TorchTrainable)
    made.setup(BASE | {"trial": {"seed": 1}}, None, BASE | {"trial": {"seed": 1}, "scheduler": None} | fields)
    with pytest.raises(FirstStepFailed) as caught:
        made.step()
    assert f"{reason}; only numbers, text, tensors and collections of them can be" in str(caught.value)


def test_a_net_with_extra_state_resumes_to_the_last_bit() -> None:
    assert round_trip(run_fields("torch.optim.SGD") | {"net": HERE + "Extra", "net_config": {}}) == ""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"optimizer": "torch.optim.SparseAdam"},
            "optimizer: torch.optim.SparseAdam cannot be used here: "
            "it takes sparse gradients only; torch.optim.Adam",
        ),
        (
            {"optimizer": "pytorch_optimizer.SAM", "optimizer_config": {"rho": 0.1}},
            "optimizer: pytorch_optimizer.SAM wraps another optimizer; say which one, "
            "optimizer_config: {base_optimizer: torch.optim.AdamW}",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(fields: Any, reason: str) -> None:
    assert trainable(run_fields("torch.optim.SGD") | fields).step()["reason"] == reason


def test_a_class_outside_the_package_is_not_made_on_a_checkpoints_word() -> None:
    state = {"x": {"__kind__": "object", "class": "subprocess:Popen", "holds": {}}}
    with pytest.raises(CheckpointError, match="'subprocess:Popen', which is not of torch"):
        from_plain(state, frozenset({"torch"}))


def test_a_state_that_holds_itself_is_refused() -> None:
    state: dict[Any, Any] = {}
    state["me"] = state
    with pytest.raises(CheckpointError, match="holds itself"):
        to_plain(state, frozenset(), "optimizer: mine")


def trainable(fields: Any) -> TorchTrainable:
    made = TorchTrainable.__new__(TorchTrainable)
    made.setup(BASE | {"scheduler_config": {}, "trial": {"seed": 1}} | fields)
    return made
