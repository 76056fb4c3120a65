"""`resources_per_trial: auto`: chooses a trial's resources by measurement, and so how many run at once.

The corners of the space show how much memory the largest configuration takes; epochs timed alone and
concurrently show whether more trials at once get more done.
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
"""Several trials at once must do at least this share of the work of one alone, or they only wait in turn."""

MEASURABLE_S = 0.2
"""Shorter epochs are not compared: other load on the machine would decide."""


@dataclass(frozen=True, slots=True)
class ResourceShare:
    """The resources of a trial.

    Attributes:
        cpu: cores.
        gpu: GPUs; 0 for none.
        why: the reason, in one line.
    """

    cpu: float
    gpu: float
    why: str


def choose_resources(sweep: Sweep, place: TrialSlots) -> tuple[Sweep, str]:
    """The sweep with `auto` replaced by measured resources, and the reason in one line.

    A sweep without `auto` is returned unchanged, with "".

    Args:
        sweep: what would run.
        place: the slots it would run on, with one core a trial, or one core and a GPU.

    Raises:
        PreflightFailed: if no configuration runs, or none fits.
        RunError: if the data cannot be loaded.
    """
    request = sweep.resources_per_trial
    if not request.auto:
        return sweep, ""
    share = choose(sweep, load_data(sweep.run, sweep.import_paths), place)
    chosen = request.model_copy(update={"cpu": share.cpu, "gpu": share.gpu, "auto": False})
    return sweep.model_copy(update={"resources_per_trial": chosen}), share.why


def choose(sweep: Sweep, data: Data, place: TrialSlots, limit_s: float = LIMIT_S) -> ResourceShare:
    """Measure and choose a trial's resources.

    Raises:
        PreflightFailed: if no configuration runs, or none fits.
    """
    corners = {name: flat for name, flat in probe_configs(sweep).items() if "random" not in name}
    reports = dry_run_probes(sweep, corners, data, place, limit_s)
    ran = {name: report for name, report in reports.items() if report.outcome == "ran"}
    if not ran:
        reason = next(iter(reports.values())).reason
        raise PreflightFailed(
            f"resources_per_trial: auto: no configuration runs: {reason}; see `launch.py preflight`"
        )
    largest = max(report.memory_mb for report in ran.values())
    gpu_mb = max(report.gpu_mb for report in ran.values())
    name = "default" if "default" in ran else next(iter(ran))
    config = trial_config(sweep, corners[name], "preflight")
    if gpu_mb:
        return _share_of_gpu(
            largest,
            gpu_mb,
            place,
            lambda count, share: _mean_epoch_s(place, config, data, count, share, limit_s),
        )
    return _share_of_cores(
        largest, place, lambda count: _mean_epoch_s(place, config, data, count, 0.0, limit_s)
    )


def _share_of_cores(memory_mb: float, place: TrialSlots, epoch_s: Callable[[int], float]) -> ResourceShare:
    """One core each, or more if a node's memory holds fewer trials than it has cores."""
    cores = max(1, place.cpus // place.nodes)
    fit = fit_cpu(memory_mb, place.free_mb())
    if fit.slots < 1:
        raise PreflightFailed(_too_large(fit.memory_mb, fit.available_mb))
    count, seconds = _most_worthwhile(min(cores, fit.slots), epoch_s)
    cpu = 1.0 if count == cores else math.floor(100 * cores / count) / 100
    why = f"{cpu:g} CPU each, {count} at once on {cores} cores"
    return ResourceShare(cpu, 0.0, f"{why}: {_usage(fit.memory_mb, fit.available_mb, seconds)}")


def _share_of_gpu(
    memory_mb: float, gpu_mb: float, place: TrialSlots, epoch_s: Callable[[int, float], float]
) -> ResourceShare:
    """One core and a share of a GPU each: as many as fit into its memory and as there are cores for."""
    fit = fit_gpu(memory_mb, gpu_mb, 1)
    if fit.slots < 1:
        raise PreflightFailed(_too_large(fit.memory_mb, fit.available_mb))
    cores = max(1, place.cpus // place.gpus)
    count, seconds = _most_worthwhile(min(fit.slots, cores), lambda count: epoch_s(count, _gpu_share(count)))
    share = _gpu_share(count)
    why = f"1 CPU and {share:g} GPU each, {count} at once on a GPU"
    return ResourceShare(1.0, share, f"{why}: {_usage(fit.memory_mb, fit.available_mb, seconds)}")


def _most_worthwhile(most: int, epoch_s: Callable[[int], float]) -> tuple[int, float]:
    """The number of trials at once that is worthwhile, see `WORTH`, and the seconds of an epoch then."""
    alone, count = epoch_s(1), most
    if alone < MEASURABLE_S:
        return most, alone
    while count > 1:
        seconds = epoch_s(count)
        if count / seconds >= WORTH / alone:
            return count, seconds
        count //= 2
    return 1, alone


def _mean_epoch_s(
    place: TrialSlots, config: Mapping[str, Any], data: Data, count: int, share: float, limit_s: float
) -> float:
    """Mean seconds of an epoch with `count` trials at once; infinite if one of them fails."""
    reports = place.dry_run([config] * count, data, gpu=share, at_once=count, limit_s=limit_s)
    times = [report.epoch_s if report.outcome == "ran" else math.inf for report in reports]
    return sum(times) / len(times)


def _gpu_share(count: int) -> float:
    """The share of a GPU of which `count` fit on it."""
    return math.floor(1e4 / count) / 1e4


def _usage(memory_mb: float, available_mb: float, epoch_s: float) -> str:
    return f"a trial takes up to {memory_mb:.0f} of {available_mb:.0f} MiB, an epoch {epoch_s:.2g} s"


def _too_large(memory_mb: float, available_mb: float) -> str:
    return (
        f"resources_per_trial: auto: a trial takes up to {memory_mb:.0f} MiB, {available_mb:.0f} are "
        "available: not one fits; use a smaller net or batch"
    )
