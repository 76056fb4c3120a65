"""Advice on settings that depend on each other: batch size and rate, width and depth, decay and Adam."""

from __future__ import annotations

import math
from collections.abc import Iterator

from raysweep.advice.ranges import USEFUL_LR
from raysweep.advice.rule import (
    AdviceRule,
    Suggestion,
    at,
    class_name,
    decades,
    ends,
    leaf,
    log_range,
    ranged,
    single,
)
from raysweep.config import Sweep
from raysweep.config.parameter import is_number
from raysweep.config.problem import shown
from raysweep.config.stage import LR

WIDTHS = ("nodes", "width", "hidden", "hidden_size", "hidden_dim", "units", "channels", "d_model")
DEPTHS = ("layers", "depth", "n_layers", "num_layers", "blocks", "n_blocks", "num_blocks")
COUPLED_DECAY = {
    "torch.optim.Adam": "run.optimizer=torch.optim.AdamW",
    "torch.optim.NAdam": "run.optimizer_config.decoupled_weight_decay=true",
    "torch.optim.RAdam": "run.optimizer_config.decoupled_weight_decay=true",
}
"""Optimizers that add the decay to the gradient and then rescale both, and the `--set` that fixes it."""

SETS_MAX_LR = {
    "CyclicLR": True,
    "CosineAnnealingWarmupRestarts": True,
    "OneCycleLR": False,
    "CosineScheduler": False,
    "LinearScheduler": False,
    "PolyScheduler": False,
}
"""Schedulers that set the rate by their own `max_lr`: always, or only if it is given."""


def lr_overruled(sweep: Sweep) -> Iterator[Suggestion]:
    """The learning rate is searched only if it has an effect: not with a scheduler that sets its own."""
    name, top = class_name(sweep.run.scheduler or ""), "scheduler_config.max_lr"
    given = "max_lr" in sweep.run.scheduler_config or top in sweep.space
    if LR not in sweep.space or "scheduler" in sweep.space or name not in SETS_MAX_LR:
        return
    always = SETS_MAX_LR[name]
    if always or given:
        why = f"{name} sets the rate by its own max_lr: every lr trains alike, to the last bit"
        instead = f"search {top} instead"
        fix = instead if always else f"drop {top}, which then defaults to lr, or {instead}"
        yield Suggestion(at(LR), why, fix)


def width_and_depth(sweep: Sweep) -> Iterator[Suggestion]:
    """Capacity is fixed and depth is searched: not `nodes` and `layers` together."""
    inside = [flat for flat in sweep.space if flat.startswith("net_config.")]
    widths = [flat for flat in inside if leaf(flat) in WIDTHS]
    depths = [flat for flat in inside if leaf(flat) in DEPTHS]
    if widths and depths:
        why = (
            f"searched together with {leaf(depths[0])}: wide and shallow or narrow and deep nets reach the "
            "same loss for different reasons, and the search learns about neither"
        )
        yield Suggestion(at(widths[0]), why, f"drop it here, and give {leaf(widths[0])} in run.net_config")


def architecture_before_lr(sweep: Sweep) -> Iterator[Suggestion]:
    """The learning rate is found before, or together with, the architecture."""
    first = next((flat for flat in sweep.space if flat.startswith("net_config.")), None)
    if first is None or _rate_searched(sweep):
        return
    why = "the net is searched but the learning rate is not: this finds the best net for a poor learning rate"
    yield Suggestion(at(first), why, sets=(_search_lr(sweep),))


def batch_size_without_lr(sweep: Sweep) -> Iterator[Suggestion]:
    """A batch size is searched together with the learning rate."""
    span = ends(sweep.space.get("batch_size"))
    if span is None or span[0] == span[1] or _rate_searched(sweep):
        return
    why = "searched with a fixed learning rate: a larger batch needs a larger rate, about by its square root"
    yield Suggestion(at("batch_size"), why, sets=(_search_lr(sweep),))


def lr_narrower_than_batch(sweep: Sweep) -> Iterator[Suggestion]:
    """The learning rate has room to grow with the square root of the batch size."""
    batch, domain = ends(single(sweep).get("batch_size")), single(sweep).get(LR)
    rate = ends(domain)
    if batch is None or rate is None or domain is None or batch[0] <= 0 or rate[0] <= 0:
        return
    needed = math.sqrt(batch[1] / batch[0])
    if rate[1] / rate[0] >= needed:
        return
    middle = math.sqrt(rate[0] * rate[1])
    low, high = (float(f"{value:.2g}") for value in (middle / needed, middle * needed))
    why = (
        f"{ranged(domain)} leaves no room for lr to follow the square root of batch_size, "
        f"which grows by a factor of {shown(round(batch[1] / batch[0], 1))}"
    )
    yield Suggestion(at(LR), why, sets=(log_range(LR, low, high),))


def adam_weight_decay(sweep: Sweep) -> Iterator[Suggestion]:
    """Weight decay goes with AdamW: Adam rescales it together with the gradient."""
    fix = COUPLED_DECAY.get(sweep.run.optimizer)
    given = sweep.run.optimizer_config
    if fix is None or "optimizer" in sweep.space or given.get("decoupled_weight_decay"):
        return
    flat, fixed = "optimizer_config.weight_decay", given.get("weight_decay", 0)
    if flat not in sweep.space and not (is_number(fixed) and fixed > 0):
        return
    key = at(flat) if flat in sweep.space else ("run", "optimizer_config", "weight_decay")
    name = class_name(sweep.run.optimizer)
    why = (
        f"{name} divides weight decay by the gradient's size too, so it has little effect on large gradients"
    )
    yield Suggestion(key, why, sets=(fix,))


def _rate_searched(sweep: Sweep) -> bool:
    """Whether any learning rate is searched, that of a parameter group included."""
    names = ("lr", "learning_rate")
    return any(flat.startswith("optimizer_config.") and leaf(flat) in names for flat in sweep.space)


def _search_lr(sweep: Sweep) -> str:
    """The `--set` that searches the optimizer's useful learning rates, including the run's own."""
    region = USEFUL_LR.get(class_name(sweep.run.optimizer))
    low, high = (region.low, region.high) if region else (1e-5, 1e-1)  # document 003, Pitfall 7
    own = sweep.run.optimizer_config.get("lr")
    if is_number(own) and own > 0:
        low, high = min(low, own), max(high, own)
    assert decades(low, high) > 0, "a region has more than one point"
    return log_range(LR, low, high)


RULES = (
    AdviceRule(
        lr_overruled, "torch.optim.lr_scheduler: OneCycleLR and CyclicLR begin by setting every group's lr"
    ),
    AdviceRule(width_and_depth, "document 000, The HPO Philosophy"),
    AdviceRule(architecture_before_lr, "document 003, Pitfall 5"),
    AdviceRule(batch_size_without_lr, "document 003, Batch Size and Learning Rate Interaction"),
    AdviceRule(
        lr_narrower_than_batch, "document 003, Batch Size and Learning Rate Interaction: lr ∝ √batch_size"
    ),
    AdviceRule(adam_weight_decay, "document 003, Interaction 4; arXiv:1711.05101"),
)
