"""What a machine has, and how many trials can run on it in parallel. Independent of Ray."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from raysweep.config.sweep import MoreResources
from raysweep.errors import ExitCode, RaysweepError

CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


class CannotPlace(RaysweepError):
    """A trial needs more than there is; says what it needs and what the machine has."""

    exit_code = ExitCode.UNREACHABLE


class ResourceRequest(Protocol):
    """`resources_per_trial` of a sweep; `gpu` None means one whole GPU if there are any."""

    @property
    def cpu(self) -> float:
        """CPU cores."""

    @property
    def gpu(self) -> float | None:
        """A fraction of one GPU, or whole GPUs."""

    @property
    def on_oom(self) -> MoreResources | None:
        """What a trial gets after it ran out of memory."""


@dataclass(frozen=True, slots=True)
class Machine:
    """CPU cores and GPUs that trials may use."""

    cpus: int
    gpus: int

    def gpu_share(self, requested: float | None) -> float:
        """GPUs of a trial: the requested share, else one whole GPU if there are any, else none."""
        return requested if requested is not None else float(min(self.gpus, 1))

    def share_after_oom(self, request: ResourceRequest) -> dict[str, float] | None:
        """What a trial that ran out of memory gets in its second run, in Ray's terms; None if no more.

        A request above what the machine has means all of it: `on_oom: {cpu: 1000}` runs the trial alone.
        """
        more = request.on_oom
        if more is None:
            return None
        had = {"cpu": request.cpu, "gpu": self.gpu_share(request.gpu)}
        wanted = {"cpu": more.cpu or had["cpu"], "gpu": more.gpu or had["gpu"]}
        share = {"cpu": min(wanted["cpu"], self.cpus), "gpu": min(wanted["gpu"], self.gpus)}
        return share if any(share[key] > had[key] for key in had) else None

    def slots(self, request: ResourceRequest, limit: int | None = None) -> int:
        """How many trials run in parallel: as many as fit, at most `limit`.

        Args:
            request: resources of one trial.
            limit: `max_concurrent_trials` of the sweep.

        Raises:
            CannotPlace: if not even one trial fits.

        >>> from types import SimpleNamespace
        >>> Machine(cpus=8, gpus=2).slots(SimpleNamespace(cpu=1, gpu=0.4))
        4
        """
        gpu = self.gpu_share(request.gpu)
        fits = [limit] if limit is not None else []
        if request.cpu > 0:
            fits.append(how_often(request.cpu, self.cpus))
        if gpu >= 1:
            fits.append(how_often(gpu, self.gpus))
        elif gpu > 0:
            fits.append(self.gpus * how_often(gpu, 1))  # a share never spans two GPUs
        if gpu > 1 and gpu != int(gpu):
            raise CannotPlace(
                f"resources_per_trial: gpu {gpu:g}: a trial takes a share of one GPU or whole GPUs"
            )
        slots = min(fits, default=self.cpus)
        if slots < 1:
            raise CannotPlace(
                f"resources_per_trial: a trial asks for {request.cpu:g} CPU and {gpu:g} GPU, but this "
                f"machine has {self.cpus} CPU and {self.gpus} GPU; ask for less"
            )
        return slots


def how_often(amount: float, available: float) -> int:
    """How often an amount, > 0, fits into the available one.

    >>> how_often(0.1, 1), how_often(0.2, 0.6), how_often(0.4, 1)
    (10, 3, 2)
    """
    return math.floor(available / amount + 1e-9)  # 0.6 / 0.2 is 2.9999999999999996


def this_machine() -> Machine:
    """What this process may use: cores by CPU affinity and container quota, and NVIDIA GPUs."""
    return Machine(cpus=_cpus(), gpus=_gpus())


def _cpus() -> int:
    # sched_getaffinity does not exist on macOS
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if CGROUP_CPU_MAX.exists():
        quota, period = CGROUP_CPU_MAX.read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(cores, 1)


def _gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len(
            [device for device in visible.split(",") if device.strip() not in ("", "-1", "NoDevFiles")]
        )
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)  # exit 9: no driver
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
