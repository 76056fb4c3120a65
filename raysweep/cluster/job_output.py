"""A job's output without the lines that Ray puts before it, so that programs can read `best --json`."""

from __future__ import annotations

import re
from collections.abc import Callable

_RAYS = re.compile(r"\S+ \S+\tINFO job_manager\.py|Running entrypoint for job ")


class JobOutputFilter:
    r"""Passes on a job's own output.

    Args:
        write: receives it.

    >>> output = []
    >>> own = JobOutputFilter(output.append)
    >>> own("2026-01-01 00:00:00,0\tINFO job_manager.py:581 -- Runtime env is setting up.\nRunning ent")
    >>> own("rypoint for job a: x\n{}")
    >>> own.flush()
    >>> output
    ['{}']
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._begun, self._held = write, False, ""

    def __call__(self, text: str) -> None:
        """Filter the next part of its log."""
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
        """Pass on an incomplete last line."""
        if self._held:
            self._write(self._held)
            self._held = ""


def job_output(text: str) -> str:
    """A job's own output in its whole log."""
    output: list[str] = []
    own = JobOutputFilter(output.append)
    own(text)
    own.flush()
    return "".join(output)
