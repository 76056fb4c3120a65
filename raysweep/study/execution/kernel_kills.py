"""Whether the kernel ended a process for want of memory: Ray tells such a loss as any other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

EVENTS = Path("/sys/fs/cgroup/memory.events")


@dataclass
class KernelKills:
    """Counts the kernel's out-of-memory kills in this process's control group (Linux, cgroup v2).

    Where there is no such file nothing is ever known, and every loss counts as a plain one.
    """

    file: Path = EVENTS
    _known: int = field(init=False)

    def __post_init__(self) -> None:
        """Begin at what has happened already."""
        self._known = self._count()

    def more(self) -> bool:
        """Whether there has been one since this was last asked."""
        before, self._known = self._known, self._count()
        return self._known > before

    def _count(self) -> int:
        try:
            lines = self.file.read_text(encoding="ascii").split("\n")
            return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
        except (OSError, ValueError, IndexError):
            return 0
