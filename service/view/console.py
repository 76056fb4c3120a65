"""Where commands print: as wide as the terminal; a file or a pipe has no width, so nothing is cut there."""

from __future__ import annotations

import os
import sys

from rich.console import Console

UNBOUNDED = 200  # columns


def stdout() -> Console:
    """A console on standard output, which honours COLUMNS and NO_COLOR as rich does."""
    told = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if told else UNBOUNDED)
