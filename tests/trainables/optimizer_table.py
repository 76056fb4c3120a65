"""Every optimizer and scheduler of the installed libraries: trained, saved, loaded, trained on.

python -m tests.trainables.optimizer_table > docs/optimizers.md
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytorch_optimizer
import pytorch_scheduler
import torch
from torch.optim import Optimizer, lr_scheduler

from tests.trainables.samples import BASE, data_of, run_of
from trainables.imports import resolve
from trainables.optimizers import why_unusable
from trainables.trial import Trial

CLOCKS = ("epoch_s", "peak_memory_mb")
PLAIN = {"optimizer": "torch.optim.SGD", "optimizer_config": {"lr": 0.01, "momentum": 0.9}, "scheduler": None}
CONFIGS: dict[str, dict[str, Any]] = {
    "torch.optim.LBFGS": {"lr": 0.1},
    "pytorch_optimizer.LBFGS": {"lr": 0.1},
    "pytorch_optimizer.AliG": {"max_lr": 0.1},
    **{
        f"pytorch_optimizer.{name}": {"optimizer": "torch.optim.AdamW", "lr": 0.01}
        for name in ("Lookahead", "Magma", "OrthoGrad", "ScheduleFreeWrapper", "TRAC")
    },
    **{
        f"pytorch_optimizer.{name}": {"base_optimizer": "torch.optim.SGD", "lr": 0.01, "momentum": 0.9}
        for name in ("FriendlySAM", "LookSAM", "SAM", "WSAM")
    },
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "CosineAnnealingWarmupRestarts": {"first_cycle_steps": 2},
    "CyclicLR": {"base_lr": 1e-3, "max_lr": 1e-2},
    "ExponentialLR": {"gamma": 0.9},
    "MultiStepLR": {"milestones": [1, 2]},
    "StepLR": {"step_size": 1},
    "ExpHyperbolicLRScheduler": {"upper_bound": 20},
    "HyperbolicLRScheduler": {"upper_bound": 20},
    "InverseSqrtScheduler": {"warmup_steps": 1},
    "TrapezoidalScheduler": {"warmup_steps": 1, "decay_steps": 1},
    "WSDScheduler": {"warmup_steps": 1, "stable_steps": 1},
    "PolyScheduler": {"t_max": 4, "max_lr": 0.01},
}
"""Required settings of a class; by its path, or by its name for all libraries."""


def config_of(dotted: str) -> dict[str, Any]:
    """A configuration that works for a class."""
    return CONFIGS.get(dotted, CONFIGS.get(dotted.rpartition(".")[2], {}))


def optimizers() -> list[str]:
    """The dotted paths of all optimizers of both libraries."""
    return [
        f"{library}.{name}"
        for library, module in (("torch.optim", torch.optim), ("pytorch_optimizer", pytorch_optimizer))
        for name, class_ in _classes(module)
        if issubclass(class_, Optimizer) and class_ is not Optimizer
    ]


def schedulers() -> list[str]:
    """The dotted paths of all schedulers of the three libraries."""
    modules = {
        "torch.optim.lr_scheduler": lr_scheduler,
        "pytorch_scheduler": pytorch_scheduler,
        "pytorch_optimizer": pytorch_optimizer,
    }
    return [
        f"{library}.{name}"
        for library, module in modules.items()
        for name, class_ in _classes(module)
        if name.endswith(("LR", "Scheduler", "Restarts", "Plateau"))
        and not name.startswith(("LRScheduler", "Base", "_"))
        and not inspect.isabstract(class_)
    ]


def _classes(module: Any) -> Iterator[tuple[str, Any]]:
    return ((name, class_) for name, class_ in sorted(vars(module).items()) if inspect.isclass(class_))


def run_fields(dotted: str) -> dict[str, Any]:
    """A run config that trains with an optimizer or a scheduler."""
    word = "optimizer" if dotted in optimizers() else "scheduler"
    return PLAIN | {word: dotted, f"{word}_config": config_of(dotted)}


def round_trip(fields: dict[str, Any], *, epochs: int = 1) -> str:
    """How training from a checkpoint differs from training on; empty if they are equal to the last bit."""
    config = BASE | {"data_config": {"rows": 120}, "scheduler_config": {}, "trial": {"seed": 1}} | fields
    data = data_of(run_of(data_config={"rows": 120}))
    straight, again = Trial(data), Trial(data)
    straight.begin(config, 0)
    for _ in range(epochs):
        straight.step()
    with tempfile.TemporaryDirectory() as folder:
        straight.save(folder)
        expected = [straight.step() for _ in range(2)]
        again.begin(config, 0)
        again.load(folder)
    resumed = [again.step() for _ in range(2)]
    for trial in (straight, again):
        if trial.outcome is not None:
            return trial.outcome["reason"]
    ours, theirs = (
        [{k: v for k, v in each.items() if k not in CLOCKS} for each in r] for r in (resumed, expected)
    )
    return "" if repr(ours) == repr(theirs) else f"{ours} from a checkpoint, {theirs} straight on"


def how(dotted: str) -> str:
    """What a user has to set or to know for a class."""
    reason = why_unusable(dotted)
    if reason:
        return f"no: {reason}"
    config = ", ".join(f"{key}: {value}" for key, value in config_of(dotted).items())
    takes = inspect.signature(resolve(dotted)).parameters
    if "adamw_lr" in takes:
        return "yes; matrices by it, the rest by its AdamW"
    return f"yes; with `{{{config}}}`" if config else "yes"


def page() -> str:
    """docs/optimizers.md."""
    lines = [
        "# Optimizers and schedulers",
        "",
        "Every class of `torch.optim`, `pytorch_optimizer` and `pytorch_scheduler`. *yes*: three epochs with",
        "a checkpoint after the first are the same to the last bit as three without, so a trial can be",
        "paused, resumed and copied. *with*: what the class cannot do without, as an example. *no*: `check`",
        "says so too. Filled in where a constructor asks: the net, its parameters, `num_data`,",
        "`num_iterations`, `total_steps`, `T_max`, `max_lr`. Classes whose step computes the loss anew",
        "(LBFGS, the SAM family) get a closure. An optimizer of your own whose state cannot be written is",
        "refused before the first epoch, with the type's name.",
        "",
        "This page is made by `python -m tests.trainables.optimizer_table`; a nightly test holds every line.",
    ]
    for title, names in (("Optimizers", optimizers()), ("Schedulers", schedulers())):
        lines += ["", f"## {title}", "", "| class | can it be used? |", "|---|---|"]
        lines += [f"| `{name}` | {how(name)} |" for name in names]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
