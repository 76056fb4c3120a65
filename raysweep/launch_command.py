"""Commands to go on with, as they work from where the user stands."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from trainables.imports import CLONE

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray for a job's driver, which brings its code along


class Command(str):
    """A line that runs as it stands in the shell of whoever reads it; all other text is for eyes only."""

    __slots__ = ()

    def with_settings(self, assignments: Iterable[str]) -> Command:
        r"""The same command with `--set`s, see `assignment`.

        >>> Command("python launch.py a.yaml").with_settings([assignment("a.choices", ["x", None])])
        'python launch.py a.yaml --set \'a.choices=["x", null]\''
        """
        return Command(f"{self} {set_options(assignments)}".rstrip())


def set_options(assignments: Iterable[str]) -> str:
    """Assignments as options that a shell takes.

    >>> set_options(["trials=20", "sampler=optuna.samplers.RandomSampler"])
    '--set trials=20 --set sampler=optuna.samplers.RandomSampler'
    """
    return " ".join(f"--set {shlex.quote(text)}" for text in assignments)


def assignment(key: str, value: Any) -> str:
    """What `--set` takes: a flat key and a value as JSON, which is YAML.

    >>> assignment("trials", 20), assignment("search_space.net_config.norm.choices", ("batch", None))
    ('trials=20', 'search_space.net_config.norm.choices=["batch", null]')
    """
    return f"{key}={json.dumps(value)}"


def launch_command(*words: str | Path) -> Command:
    """`python launch.py WORDS`, or `raysweep WORDS` where that was called, as one types it in a shell here.

    Paths are given as `typed`.

    >>> launch_command("resume", Path.cwd() / "runs" / "pbt").endswith("launch.py resume runs/pbt")
    True
    """
    # A job's copy of the clone is of no use to whoever reads the job's log: there it is where they are.
    here = Path.cwd() == CLONE or IN_A_JOB in os.environ
    script = "launch.py" if here else typed(CLONE / "launch.py")
    command = ["raysweep"] if Path(sys.argv[0]).name == "raysweep" else ["python", script]
    typed_out = [typed(word) if isinstance(word, Path) else word for word in words]
    return Command(shlex.join([*command, *typed_out]))


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
