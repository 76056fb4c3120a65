"""Commands suggested to the user, as they are typed in the user's working directory."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from trainables.imports import CLONE

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray for a job's driver, which runs a copy of the clone


class Command(str):
    """A shell command that the reader can copy and run, in contrast to other text."""

    __slots__ = ()

    def with_settings(self, assignments: Iterable[str]) -> Command:
        r"""The same command with `--set` options; see `assignment`.

        >>> Command("python launch.py a.yaml").with_settings([assignment("a.choices", ["x", None])])
        'python launch.py a.yaml --set \'a.choices=["x", null]\''
        """
        return Command(f"{self} {set_options(assignments)}".rstrip())


def set_options(assignments: Iterable[str]) -> str:
    """Assignments as shell-quoted `--set` options.

    >>> set_options(["trials=20", "sampler=optuna.samplers.RandomSampler"])
    '--set trials=20 --set sampler=optuna.samplers.RandomSampler'
    """
    return " ".join(f"--set {shlex.quote(text)}" for text in assignments)


def assignment(key: str, value: Any) -> str:
    """An argument of `--set`: a flat key, and the value as JSON, which is also YAML.

    >>> assignment("trials", 20), assignment("search_space.net_config.norm.choices", ("batch", None))
    ('trials=20', 'search_space.net_config.norm.choices=["batch", null]')
    """
    return f"{key}={json.dumps(value)}"


def launch_command(*args: str | Path) -> Command:
    """`python launch.py ARGS`, or `raysweep ARGS` if that was called, quoted for a shell.

    Paths are written as by `typed`.

    >>> launch_command("resume", Path.cwd() / "runs" / "pbt").endswith("launch.py resume runs/pbt")
    True
    """
    # The reader of a job's log has a clone, but not the job's copy of it.
    here = Path.cwd() == CLONE or IN_A_JOB in os.environ
    script = "launch.py" if here else typed(CLONE / "launch.py")
    command = ["raysweep"] if Path(sys.argv[0]).name == "raysweep" else ["python", script]
    typed_out = [typed(arg) if isinstance(arg, Path) else arg for arg in args]
    return Command(shlex.join([*command, *typed_out]))


def typed(path: Path) -> str:
    """A path as typed in the working directory: relative if it is below that, else absolute.

    >>> typed(Path.cwd() / "runs" / "pbt") == str(Path("runs", "pbt"))
    True
    """
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)


def typed_args(args: Sequence[str]) -> list[str]:
    """Arguments of a command line, with absolute paths written as by `typed`."""
    return [typed(Path(arg)) if arg.startswith("/") else arg for arg in args]
