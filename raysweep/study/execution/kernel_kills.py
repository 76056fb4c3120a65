"""Detects out-of-memory kills by the kernel, which Ray reports like any other lost worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

EVENTS = Path("/sys/fs/cgroup/memory.events")


@dataclass
class KernelKills:
    """Counts the kernel's out-of-memory kills in this process's control group (Linux, cgroup v2).

    Without the kernel's file, no kill is ever detected.
    """

    file: Path = EVENTS
    _last_count: int = field(init=False)

    def __post_init__(self) -> None:
        """Start from the kills so far."""
        self._last_count = self._count()

    def any_new(self) -> bool:
        """Whether there was a kill since the last call."""
        before, self._last_count = self._last_count, self._count()
        return self._last_count > before

    def _count(self) -> int:
        try:
            lines = self.file.read_text(encoding="ascii").split("\n")
            return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
        except (OSError, ValueError, IndexError):
            return 0
