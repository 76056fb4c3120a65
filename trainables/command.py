"""Fills in the placeholders of `run.command`, `{name}`, without a shell.

    command: python train.py --lr {lr} --layers {layers}
    command: python train.py {args}

`{args}` is every setting as `--name=value`. A brace that is no placeholder stays unchanged. This module
imports no torch: a sweep file's command is checked by the same functions that a trial fills it with.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from trainables.run_config import RunError, flatten

ARGS = "args"
GIVEN = ("config", "epochs", "seed", "device", "metrics_file", "checkpoint_dir", "checkpoint")
"""Placeholders with values if no setting has the name; each is an environment variable as well."""

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w.]*)\}")


class InvalidCommand(RunError):
    """A command that cannot be split into words; `what` is wrong, `fix` says how to fix it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"run.command: {what}; {fix}")
        self.what, self.fix = what, fix


def split_command(command: str) -> list[str]:
    """The words of a command, split as by a shell.

    Raises:
        InvalidCommand: if it is empty, or a quote is not closed.

    >>> split_command("python 'my train.py' --lr {lr}")
    ['python', 'my train.py', '--lr', '{lr}']
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InvalidCommand(f"{error} in {command!r}", "close it") from None
    if not words:
        raise InvalidCommand("empty", "as in 'python train.py --lr {lr}'")
    return words


def placeholders(command: str) -> list[str]:
    """The names of a command's placeholders, in their order.

    >>> placeholders('train --lr {lr} --json {"a":1} {args}')
    ['lr', 'args']
    """
    return list(dict.fromkeys(_PLACEHOLDER.findall(command)))


def fill_command(command: str, settings: Mapping[str, Any], given: Mapping[str, str]) -> list[str]:
    """The command as a list of arguments, with its placeholders filled in.

    A first word `python` is replaced by the interpreter that runs the trial.

    Args:
        command: as in the sweep file.
        settings: nested settings of the trial; `{a.b}` is b in a.
        given: values of the placeholders in `GIVEN`.

    Raises:
        RunError: if a placeholder has no value.

    >>> fill_command("./train {args} -n {n}", {"lr": 0.1, "n": 2}, {})
    ['./train', '--lr=0.1', '--n=2', '-n', '2']
    """
    values = {**given, **{name: as_argument(value) for name, value in settings.items()}}
    values |= {name: as_argument(value) for name, value in flatten(settings).items()}

    def value_of(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise RunError(f"run.command: {match[0]} has no value in this trial; set train_config.{match[1]}")
        return values[match[1]]

    argv: list[str] = []
    for word in split_command(command):
        if word == f"{{{ARGS}}}" and ARGS not in values:
            argv += [f"--{name}={as_argument(value)}" for name, value in flatten(settings).items()]
        else:
            argv.append(_PLACEHOLDER.sub(value_of, word))
    return [sys.executable if argv[0] == "python" else argv[0], *argv[1:]]


def as_argument(value: Any) -> str:
    """A setting as an argument: text unchanged, numbers and booleans as in Python, else JSON.

    >>> as_argument(1e-05), as_argument("relu"), as_argument(True), as_argument([1, 2]), as_argument(None)
    ('1e-05', 'relu', 'True', '[1, 2]', 'null')
    """
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (bool, int, float)) else json.dumps(value)
