"""Finds processes that dead sweeps have left running on this machine, by their driver's tag."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raysweep.study.storage.process_tag import DRIVER_TAG, PROC, parse_driver_tag, process_start_ticks


@dataclass(frozen=True, slots=True)
class Leftover:
    """The processes of one dead driver.

    Attributes:
        driver: its process id, which another process may have by now.
        study: the folder of the study it ran.
        pids: of the processes that it started and that still run.
        commands: their command lines, shortened.
    """

    driver: int
    study: str
    pids: tuple[int, ...]
    commands: tuple[str, ...]

    @property
    def kill_command(self) -> str:
        """The command that ends them."""
        return f"kill {' '.join(map(str, self.pids))}"


def leftovers(proc: Path = PROC) -> list[Leftover]:
    """All those that this user may see, by driver. Ends none of them."""
    by_driver: dict[tuple[int, str, str], list[tuple[int, str]]] = {}
    for pid, tag, command in _tagged(proc):
        driver = parse_driver_tag(tag)
        if driver is not None and process_start_ticks(driver[0], proc) != driver[1]:
            by_driver.setdefault(driver, []).append((pid, command))
    return [
        Leftover(driver, study, tuple(pid for pid, _ in left), tuple(command for _, command in left))
        for (driver, _, study), left in sorted(by_driver.items())
    ]


def _tagged(proc: Path) -> Iterator[tuple[int, str, str]]:
    """(pid, tag, command line) of every process that carries a driver's tag."""
    prefix = f"{DRIVER_TAG}=".encode()
    for folder in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:  # another user's, or already gone
            continue
        tag = next((each for each in environment if each.startswith(prefix)), b"")
        if tag and int(folder.name) != os.getpid():
            text = command.decode(errors="replace").strip()
            yield int(folder.name), tag[len(prefix) :].decode(errors="replace"), text[:80]
