"""The first steps of a configuration, looked at closely.

Two epochs of it are a process's whole work (`trainables.dry_run_process`); one batch, what a process does
before its first trial (`trainables.tune`).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trainables.data import Data
from trainables.dry_run_report import DryRunReport
from trainables.training import Training
from trainables.trial import Trial

LOOKED_AT = 2  # epochs: the second one's time, and whether the loss falls


def dry_run(
    config: Mapping[str, Any], data: Data, gpu: float, folder: Path, *, restores: bool
) -> DryRunReport:
    """Train two epochs as a trial would, take one step more by hand, and say what was seen.

    Args:
        config: as a trial gets it.
        data: what it trains on.
        gpu: share of a GPU.
        folder: for checkpoints; empty.
        restores: whether the second epoch is trained once more, from a checkpoint of the first.
    """
    trial = Trial(data)
    trial.begin(config, gpu)
    results, restored = [trial.step()], None
    first = folder / "first"
    if trial.outcome is None and trial.run_config is not None and trial.run_config.epochs >= LOOKED_AT:
        if restores:
            trial.save(str(first))
        results.append(trial.step())
    if trial.outcome is not None and trial.outcome["outcome"] != "completed":
        return DryRunReport(trial.outcome["outcome"], trial.outcome["reason"])
    last = results[-1]
    memory_mb = peak_memory_mb(trial, last)
    trial.save(str(folder / "last"))
    size = sum(path.stat().st_size for path in (folder / "last").rglob("*") if path.is_file())
    seen = trial.shown(_step)
    seen.pop("rate", None)
    if trial.outcome is not None and trial.outcome["outcome"] != "completed":
        return DryRunReport(trial.outcome["outcome"], trial.outcome["reason"])
    if restores and len(results) == LOOKED_AT:
        restored = _restored(config, data, gpu, folder)
    on_gpu = trial.device.type == "cuda"
    return DryRunReport(
        "ran",
        epoch_s=float(last["epoch_s"]),
        train_losses=tuple(float(result["train_loss"]) for result in results),
        val_losses=tuple(float(result["val_loss"]) for result in results),
        memory_mb=memory_mb,
        gpu_mb=torch.cuda.get_device_properties(trial.device).total_memory / 2**20 if on_gpu else 0.0,
        checkpoint_mb=size / 2**20,
        restored=restored,
        **seen,
    )


def first_step(config: Mapping[str, Any], data: Data | None, gpu: float) -> DryRunReport:
    """Build a training as a trial would, take one step by hand, save and load it: milliseconds.

    Of a loop of the user's own only that it can be built is seen.
    """
    trial = Trial(data)
    trial.begin(config, gpu)
    seen = trial.shown(_step)
    if isinstance(trial.training, Training):
        _save_and_load(trial)
    if trial.outcome is not None:
        return DryRunReport(trial.outcome["outcome"], trial.outcome["reason"])
    waits = seen.pop("rate", 1.0) == 0  # a schedule that rises from nothing moves nothing at first
    return DryRunReport("ran", **seen | ({"still": False} if waits else {}))


def _save_and_load(trial: Trial) -> None:
    """Have a trial go through a checkpoint; a disk that refuses one is none of its faults."""
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OSError):
        trial.save(folder)
        trial.load(folder)


def _step(training: Training) -> dict[str, Any]:
    """One batch forward and backward and one optimizer step, parameter by parameter."""
    learner = training.learners[0]
    named = [(name, value) for name, value in learner.net.named_parameters() if value.requires_grad]
    rate = max(float(group.get("lr", 1.0)) for group in learner.optimizer.param_groups)
    with training.random.own():
        x, y = next(iter(learner.feed.batches()))
        doubt = learner.doubt(x)
        gradients = learner.gradients([(x, y)])
        before = [value.detach().clone() for _, value in named]
        learner.step([(x, y)])
    moved = any(not torch.equal(was, value) for was, (_, value) in zip(before, named, strict=True))
    return {
        "parameters": sum(value.numel() for _, value in named),
        "tensors": len(named),
        "doubt": doubt,
        "unreached": tuple(name for name, _ in named if gradients.get(name) is None),
        "not_finite": tuple(
            name for name, _ in named if (at := gradients.get(name)) is not None and not at.isfinite().all()
        ),
        "still": not moved,
        "rate": rate,
    }


def _restored(config: Mapping[str, Any], data: Data, gpu: float, folder: Path) -> bool:
    """Whether a fresh trial, given the first epoch's checkpoint, ends the second with the same weights."""
    again, straight = Trial(data), Trial(data)
    for trial, checkpoint in ((again, "first"), (straight, "last")):
        trial.begin(config, gpu)
        trial.load(str(folder / checkpoint))
    again.step()
    if again.training is None or straight.training is None:
        return False
    if not isinstance(again.training, Training) or not isinstance(straight.training, Training):
        return again.training.number == straight.training.number
    ours, theirs = again.training.weights(), straight.training.weights()
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def peak_memory_mb(trial: Trial, result: Mapping[str, Any]) -> float:
    """What its process took at most, MiB: of its GPU where it has one, CUDA's own context included."""
    return _gpu_used_mb(trial.device) if trial.device.type == "cuda" else float(result["peak_memory_mb"])


def _gpu_used_mb(device: torch.device) -> float:
    """What the process holds of its GPU at most, CUDA's own context included, MiB."""
    free, total = torch.cuda.mem_get_info(device)
    context = total - free - torch.cuda.memory_reserved(device)
    return (torch.cuda.max_memory_reserved(device) + max(context, 0)) / 2**20
