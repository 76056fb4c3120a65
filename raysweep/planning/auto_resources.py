"""`resources_per_trial: auto`: what a trial gets, and so how many run at once, from what trials take.

The corners of the space say how much memory the largest takes; epochs timed alone and beside each other
say whether more at once also get more done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raysweep.config import Sweep
from raysweep.config.trial_config import trial_config
from raysweep.preflight.check import PreflightFailed
from raysweep.preflight.concurrency import fit_cpu, fit_gpu
from raysweep.preflight.preflight import LIMIT_S, TrialSlots, dry_run_probes
from raysweep.preflight.probe_configs import probe_configs
from trainables.data import Data
from trainables.user_errors import load_data

WORTH = 0.8
"""So much of what one alone gets done must be done by several together; below it they only wait in turn."""

MEASURABLE_S = 0.2
"""An epoch shorter than this tells nothing of that: whatever else the machine does is longer."""


@dataclass(frozen=True, slots=True)
class ResourceShare:
    """What a trial gets.

    Attributes:
        cpu: cores.
        gpu: GPUs; 0 for none.
        why: in a line.
    """

    cpu: float
    gpu: float
    why: str


def choose_resources(sweep: Sweep, place: TrialSlots) -> tuple[Sweep, str]:
    """The sweep with what `auto` stands for, and what that is, in a line; unchanged if it says more itself.

    Args:
        sweep: what would run.
        place: on what; a trial has one core of it, or one and a GPU.

    Raises:
        NotFit: if no configuration runs, or none fits.
        RunError: if the data cannot be loaded.
    """
    asked = sweep.resources_per_trial
    if not asked.auto:
        return sweep, ""
    share = choose(sweep, load_data(sweep.run, sweep.import_paths), place)
    chosen = asked.model_copy(update={"cpu": share.cpu, "gpu": share.gpu, "auto": False})
    return sweep.model_copy(update={"resources_per_trial": chosen}), share.why


def choose(sweep: Sweep, data: Data, place: TrialSlots, limit_s: float = LIMIT_S) -> ResourceShare:
    """What a trial gets, measured.

    Raises:
        NotFit: if no configuration runs, or none fits.
    """
    corners = {name: flat for name, flat in probe_configs(sweep).items() if "random" not in name}
    found = dry_run_probes(sweep, corners, data, place, limit_s)
    ran = {name: one for name, one in found.items() if one.outcome == "ran"}
    if not ran:
        reason = next(iter(found.values())).reason
        raise PreflightFailed(
            f"resources_per_trial: auto: no configuration runs: {reason}; see `launch.py preflight`"
        )
    largest = max(one.memory_mb for one in ran.values())
    gpu_mb = max(one.gpu_mb for one in ran.values())
    name = "default" if "default" in ran else next(iter(ran))
    config = trial_config(sweep, corners[name], "preflight")
    if gpu_mb:
        return _of_a_gpu(
            largest,
            gpu_mb,
            place,
            lambda beside, share: _together(place, config, data, beside, share, limit_s),
        )
    return _of_cores(largest, place, lambda beside: _together(place, config, data, beside, 0.0, limit_s))


def _of_cores(memory_mb: float, place: TrialSlots, epoch_s: Callable[[int], float]) -> ResourceShare:
    """A core each, or more where the memory of a node does not hold as many trials as it has cores."""
    cores = max(1, place.cpus // place.nodes)
    fit = fit_cpu(memory_mb, place.free_mb())
    if fit.slots < 1:
        raise PreflightFailed(_too_large(fit.memory_mb, fit.available_mb))
    beside, took = _worth_it(min(cores, fit.slots), epoch_s)
    cpu = 1.0 if beside == cores else math.floor(100 * cores / beside) / 100
    why = f"{cpu:g} CPU each, {beside} at once on {cores} cores"
    return ResourceShare(cpu, 0.0, f"{why}: {_takes(fit.memory_mb, fit.available_mb, took)}")


def _of_a_gpu(
    memory_mb: float, gpu_mb: float, place: TrialSlots, epoch_s: Callable[[int, float], float]
) -> ResourceShare:
    """A share of a GPU, a core each: as many as its memory holds and there are cores to feed."""
    fit = fit_gpu(memory_mb, gpu_mb, 1)
    if fit.slots < 1:
        raise PreflightFailed(_too_large(fit.memory_mb, fit.available_mb))
    fed = max(1, place.cpus // place.gpus)
    beside, took = _worth_it(min(fit.slots, fed), lambda count: epoch_s(count, _part(count)))
    share = _part(beside)
    why = f"1 CPU and {share:g} GPU each, {beside} at once on a GPU"
    return ResourceShare(1.0, share, f"{why}: {_takes(fit.memory_mb, fit.available_mb, took)}")


def _worth_it(most: int, epoch_s: Callable[[int], float]) -> tuple[int, float]:
    """As many at once as get no less done than one alone, at most so many; and an epoch's seconds then."""
    alone, beside = epoch_s(1), most
    if alone < MEASURABLE_S:
        return most, alone
    while beside > 1:
        took = epoch_s(beside)
        if beside / took >= WORTH / alone:
            return beside, took
        beside //= 2
    return 1, alone


def _together(
    place: TrialSlots, config: Mapping[str, Any], data: Data, beside: int, share: float, limit_s: float
) -> float:
    """Mean seconds of an epoch of so many at once; for ever if one does not run so."""
    found = place.dry_run([config] * beside, data, gpu=share, at_once=beside, limit_s=limit_s)
    times = [one.epoch_s if one.outcome == "ran" else math.inf for one in found]
    return sum(times) / len(times)


def _part(count: int) -> float:
    """Of a GPU, so that so many fit."""
    return math.floor(1e4 / count) / 1e4


def _takes(memory_mb: float, available_mb: float, epoch_s: float) -> str:
    return f"a trial takes up to {memory_mb:.0f} of {available_mb:.0f} MiB, an epoch {epoch_s:.2g} s"


def _too_large(memory_mb: float, available_mb: float) -> str:
    return (
        f"resources_per_trial: auto: a trial takes up to {memory_mb:.0f} MiB, {available_mb:.0f} are there: "
        "not one fits; a smaller net or batch"
    )
