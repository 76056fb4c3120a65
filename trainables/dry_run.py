"""Examines the first steps of a configuration.

Either two epochs, in a process of their own (`trainables.dry_run_process`), or one batch, before the first
trial of a process (`trainables.tune`).
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

DRY_RUN_EPOCHS = 2  # the second for its time, and for whether the loss falls


def dry_run(
    config: Mapping[str, Any], data: Data, gpu: float, folder: Path, *, restores: bool
) -> DryRunReport:
    """Train two epochs as a trial would, examine one more step, and report.

    Args:
        config: config of the trial.
        data: what it trains on.
        gpu: share of a GPU.
        folder: an empty folder for checkpoints.
        restores: whether the second epoch is trained once more, from a checkpoint of the first.
    """
    trial = Trial(data)
    trial.begin(config, gpu)
    results, restored = [trial.step()], None
    first = folder / "first"
    if trial.outcome is None and trial.run_config is not None and trial.run_config.epochs >= DRY_RUN_EPOCHS:
        if restores:
            trial.save(str(first))
        results.append(trial.step())
    if trial.outcome is not None and trial.outcome["outcome"] != "completed":
        return DryRunReport(trial.outcome["outcome"], trial.outcome["reason"])
    last = results[-1]
    memory_mb = peak_memory_mb(trial, last)
    trial.save(str(folder / "last"))
    size = sum(path.stat().st_size for path in (folder / "last").rglob("*") if path.is_file())
    step = trial.examine(_step)
    step.pop("rate", None)
    if trial.outcome is not None and trial.outcome["outcome"] != "completed":
        return DryRunReport(trial.outcome["outcome"], trial.outcome["reason"])
    if restores and len(results) == DRY_RUN_EPOCHS:
        restored = _is_restored(config, data, gpu, folder)
    on_gpu = trial.device.type == "cuda"
    return DryRunReport(
        "ran",
        epoch_s=float(last["epoch_s"]),
        train_losses=tuple(float(result["train_loss"]) for result in results),
        val_losses=tuple(float(result["val_loss"]) for result in results),
        memory_mb=memory_mb,
        gpu_mb=torch.cuda.get_device_properties(trial.device).total_memory / 2**20 if on_gpu else 0.0,
        gpu_busy=gpu_busy(last),
        checkpoint_mb=size / 2**20,
        restored=restored,
        **step,
    )


def first_step(config: Mapping[str, Any], data: Data | None, gpu: float) -> DryRunReport:
    """Build a training as a trial would, examine one step, save and load it; takes milliseconds.

    A custom loop is only built.
    """
    trial = Trial(data)
    trial.begin(config, gpu)
    step = trial.examine(_step)
    if isinstance(trial.training, Training):
        _save_and_load(trial)
    if trial.outcome is not None:
        return DryRunReport(trial.outcome["outcome"], trial.outcome["reason"])
    starts_at_zero = step.pop("rate", 1.0) == 0  # a schedule that rises from zero changes nothing at first
    return DryRunReport("ran", **step | ({"still": False} if starts_at_zero else {}))


def _save_and_load(trial: Trial) -> None:
    """Save and load a trial; a disk that refuses the checkpoint is ignored."""
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OSError):
        trial.save(folder)
        trial.load(folder)


def _step(training: Training) -> dict[str, Any]:
    """Take one optimizer step on one batch, and examine gradients and parameters."""
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


def _is_restored(config: Mapping[str, Any], data: Data, gpu: float, folder: Path) -> bool:
    """Whether a new trial with the first epoch's checkpoint has the same weights after the second epoch."""
    restored, original = Trial(data), Trial(data)
    for trial, checkpoint in ((restored, "first"), (original, "last")):
        trial.begin(config, gpu)
        trial.load(str(folder / checkpoint))
    restored.step()
    if restored.training is None or original.training is None:
        return False
    if not isinstance(restored.training, Training) or not isinstance(original.training, Training):
        return restored.training.number == original.training.number
    weights, expected = restored.training.weights(), original.training.weights()
    return all(torch.equal(weights[name], expected[name]) for name in expected)


def peak_memory_mb(trial: Trial, result: Mapping[str, Any]) -> float:
    """Peak memory of the process, MiB: of its GPU if it has one, CUDA's own context included."""
    return _gpu_peak_mb(trial.device) if trial.device.type == "cuda" else float(result["peak_memory_mb"])


def gpu_busy(result: Mapping[str, Any]) -> float | None:
    """The GPU's utilisation during an epoch, percent; None if it was read after too short an epoch, or not.

    NVML averages over at most a second (nvmlDeviceGetUtilizationRates).
    """
    return result.get("gpu_utilisation") if result["epoch_s"] >= 1.0 else None


def _gpu_peak_mb(device: torch.device) -> float:
    """Peak GPU memory of the process, CUDA's own context included, MiB."""
    free, total = torch.cuda.mem_get_info(device)
    context = total - free - torch.cuda.memory_reserved(device)
    return (torch.cuda.max_memory_reserved(device) + max(context, 0)) / 2**20
