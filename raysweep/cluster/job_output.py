"""What a job printed, without what Ray puts before it: a program reads `best --json` from it."""

from __future__ import annotations

import re
from collections.abc import Callable

_RAYS = re.compile(r"\S+ \S+\tINFO job_manager\.py|Running entrypoint for job ")


class JobOutputFilter:
    r"""Passes on a job's own words.

    Args:
        write: takes text.

    >>> said = []
    >>> own = JobOutputFilter(said.append)
    >>> own("2026-01-01 00:00:00,0\tINFO job_manager.py:581 -- Runtime env is setting up.\nRunning ent")
    >>> own("rypoint for job a: x\n{}")
    >>> own.flush()
    >>> said
    ['{}']
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._begun, self._held = write, False, ""

    def __call__(self, text: str) -> None:
        """Take what comes next of its log."""
        self._held += text
        while not self._begun and "\n" in self._held:
            line, _, rest = self._held.partition("\n")
            if _RAYS.match(line):
                self._held = rest
            else:
                self._begun = True
        if self._begun:
            self.flush()

    def flush(self) -> None:
        """Pass on what was held back for being no whole line."""
        if self._held:
            self._write(self._held)
            self._held = ""


def job_output(text: str) -> str:
    """The same of a whole log."""
    said: list[str] = []
    own = JobOutputFilter(said.append)
    own(text)
    own.flush()
    return "".join(said)
