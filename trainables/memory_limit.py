"""How much memory a training may take, and a bound that torch tells of, not the kernel. Knows no torch."""

from __future__ import annotations

import os
import resource
from pathlib import Path

CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")
OOM_SCORE = Path("/proc/self/oom_score_adj")
SHARE = 0.8
"""Of the memory there is: what all that is tried at once may take."""


def available_memory_mb() -> float:
    """Memory that may still be taken: of the machine, and no more than its container's limit, MiB."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    free = _kilobytes(Path("/proc/meminfo"), "MemAvailable:", free * 1024) / 1024
    if CGROUP_MEMORY.exists():
        limit = CGROUP_MEMORY.read_text(encoding="ascii").strip()
        if limit != "max":
            used = int(CGROUP_MEMORY.with_name("memory.current").read_text(encoding="ascii"))
            free = min(free, (int(limit) - used) / 2**20)
    return max(free, 0.0)


def bound_memory(more_mb: float) -> None:
    """Let this process take no more than so much beside what it has, MiB.

    Should the machine run out nevertheless, this process goes, and nobody else's.
    """
    if OOM_SCORE.exists():
        OOM_SCORE.write_text("1000")
    has = _kilobytes(Path("/proc/self/status"), "VmData:", 0.0) * 1024
    most = int(has + more_mb * 2**20)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _kilobytes(file: Path, word: str, otherwise: float) -> float:
    """A line of one of the kernel's tables; `otherwise` where there is none (macOS)."""
    if not file.exists():
        return otherwise
    lines = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return next((float(words[1]) for words in lines if words[:1] == [word]), otherwise)
