"""Commands to go on with, as they work from where the user stands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from trainables.imports import CLONE


def launch_command(*words: str | Path) -> str:
    """`python launch.py WORDS`, quoted for a shell in the working directory; paths as `typed`.

    >>> launch_command("resume", Path.cwd() / "runs" / "pbt").endswith("launch.py resume runs/pbt")
    True
    """
    program = CLONE / "launch.py"
    name = "launch.py" if Path.cwd() == CLONE else typed(program)
    return shlex.join(["python", name, *(typed(word) if isinstance(word, Path) else word for word in words)])


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
