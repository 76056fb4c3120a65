"""Available memory, and a limit that raises an error instead of a kill by the kernel. Imports no torch."""

from __future__ import annotations

import os
import resource
from pathlib import Path

CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")
OOM_SCORE = Path("/proc/self/oom_score_adj")
SHARE = 0.8
"""Share of the available memory that all configurations tried at once may take."""


def available_memory_mb() -> float:
    """Free memory of the machine, or of its container if that is less, MiB."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    free = _kilobytes(Path("/proc/meminfo"), "MemAvailable:", free * 1024) / 1024
    if CGROUP_MEMORY.exists():
        limit = CGROUP_MEMORY.read_text(encoding="ascii").strip()
        if limit != "max":
            used = int(CGROUP_MEMORY.with_name("memory.current").read_text(encoding="ascii"))
            free = min(free, (int(limit) - used) / 2**20)
    return max(free, 0.0)


def bound_memory(more_mb: float) -> None:
    """Limit the memory that this process may take in addition to what it has, MiB.

    Should the machine run out nevertheless, the kernel kills this process first.
    """
    if OOM_SCORE.exists():
        OOM_SCORE.write_text("1000")
    used = _kilobytes(Path("/proc/self/status"), "VmData:", 0.0) * 1024
    limit = int(used + more_mb * 2**20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _kilobytes(file: Path, key: str, default: float) -> float:
    """The value of a key in one of the kernel's tables; `default` without the file (macOS)."""
    if not file.exists():
        return default
    lines = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return next((float(parts[1]) for parts in lines if parts[:1] == [key]), default)
