"""What dead sweeps have left running on this machine: only processes that carry a driver's mark."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raysweep.study.storage.process_tag import DRIVER_TAG, PROC, parse_driver_tag, process_start_ticks


@dataclass(frozen=True, slots=True)
class Leftover:
    """The processes of one driver that is dead.

    Attributes:
        driver: its process id, which may be another's by now.
        study: the folder of the study it ran.
        pids: of what it started and what runs on.
        words: their command lines, cut.
    """

    driver: int
    study: str
    pids: tuple[int, ...]
    words: tuple[str, ...]

    @property
    def cure(self) -> str:
        """The line that ends them."""
        return f"kill {' '.join(map(str, self.pids))}"


def leftovers(proc: Path = PROC) -> list[Leftover]:
    """All there are that this user may look at, by driver. Nothing is ended."""
    found: dict[tuple[int, str, str], list[tuple[int, str]]] = {}
    for pid, mark, words in _marked(proc):
        driver = parse_driver_tag(mark)
        if driver is not None and process_start_ticks(driver[0], proc) != driver[1]:
            found.setdefault(driver, []).append((pid, words))
    return [
        Leftover(driver, study, tuple(pid for pid, _ in left), tuple(words for _, words in left))
        for (driver, _, study), left in sorted(found.items())
    ]


def _marked(proc: Path) -> Iterator[tuple[int, str, str]]:
    """(pid, mark, command line) of every process that carries a mark."""
    prefix = f"{DRIVER_TAG}=".encode()
    for folder in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:  # another user's, or gone meanwhile
            continue
        mark = next((each for each in environment if each.startswith(prefix)), b"")
        if mark and int(folder.name) != os.getpid():
            text = words.decode(errors="replace").strip()
            yield int(folder.name), mark[len(prefix) :].decode(errors="replace"), text[:80]
