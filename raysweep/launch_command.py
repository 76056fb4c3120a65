"""Commands to go on with, as they work from where the user stands."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from trainables.imports import CLONE

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray for a job's driver, which brings its code along


def launch_command(*words: str | Path) -> str:
    """`python launch.py WORDS`, or `raysweep WORDS` where that was called, as one types it in a shell here.

    Paths are given as `typed`.

    >>> launch_command("resume", Path.cwd() / "runs" / "pbt").endswith("launch.py resume runs/pbt")
    True
    """
    # A job's copy of the clone is of no use to whoever reads the job's log: there it is where they are.
    here = Path.cwd() == CLONE or IN_A_JOB in os.environ
    script = "launch.py" if here else typed(CLONE / "launch.py")
    command = ["raysweep"] if Path(sys.argv[0]).name == "raysweep" else ["python", script]
    return shlex.join([*command, *(typed(word) if isinstance(word, Path) else word for word in words)])


def typed(path: Path) -> str:
    """A path as one would type it here: relative where it lies below the working directory.

    >>> typed(Path.cwd() / "runs" / "pbt") == str(Path("runs", "pbt"))
    True
    """
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)


def typed_words(words: Sequence[str]) -> list[str]:
    """Words of a command line, their absolute paths as `typed`."""
    return [typed(Path(word)) if word.startswith("/") else word for word in words]
