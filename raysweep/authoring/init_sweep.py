"""`launch.py init`: from answers, the training template's files or a W&B sweep, to a sound new sweep file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysweep.authoring.convert import check_same, convert_template
from raysweep.authoring.interview import Ask, Tell, interview, sweep_text, write
from raysweep.authoring.schema_docs import SCHEMA
from raysweep.authoring.wandb_sweep import convert_wandb
from raysweep.config import Problem, SweepError
from raysweep.preflight.check_file import CheckResult


def init_from_answers(
    file: Path, given: Mapping[str, Any], ask: Ask, tell: Tell, *, cpus: int, gpus: int, clone: Path
) -> CheckResult:
    """Interview, and write a file of which `check` has nothing to say.

    What was asked for is not argued with: advice against it is silenced in the file, by name.

    Args:
        file: to be written.
        given: answers that need no question; see `interview`.
        ask: asks a person, or answers for them.
        tell: says what was seen and taken.
        cpus: of this machine.
        gpus: of this machine.
        clone: where docs/ is.

    Raises:
        SweepError: if the file exists already, or the answers make no sound sweep; nothing is left behind.
    """
    _refuse(file)
    answers = interview(given, ask, tell, cpus=cpus, gpus=gpus)
    seen = write(file, sweep_text(answers, str(file), schema_from(file, clone)))
    if seen.advice:
        file.unlink()
        ignored = tuple(dict.fromkeys(one.name for one in seen.advice))
        seen = write(file, sweep_text(answers, str(file), schema_from(file, clone), ignored))
    return seen


def init_from_template(file: Path, run: Path, optimize: Path, *, clone: Path) -> CheckResult:
    """Make one sweep file of the template's two, that means the same.

    Raises:
        SweepError: as `begin`, or if the two cannot be put together line by line.
    """
    _refuse(file)
    text = convert_template(run, optimize, schema_from(file, clone))
    try:
        seen = write(file, text)
    except SweepError:
        if file.exists():
            raise  # somebody else's, or it could not be written
        seen = None
    if seen is None or not check_same(file, run, optimize):
        file.unlink(missing_ok=True)
        fix = f"run them as they are: launch.py {run} --optimize-config {optimize}"
        raise SweepError([Problem(str(optimize), None, "", "cannot be put together line by line", fix)])
    return seen


def init_from_wandb(file: Path, wandb: Path, *, clone: Path) -> CheckResult:
    """Make a sweep file of a W&B sweep configuration.

    Raises:
        SweepError: if the file exists already, W&B's has what there is no counterpart for, or the script that
            it names is not found from the new file; nothing is left behind.
    """
    _refuse(file)
    return write(file, convert_wandb(wandb, schema_from(file, clone)))


def schema_from(file: Path, clone: Path) -> str:
    """How an editor that has `file` open finds the schema: relative within the clone, else as a URL."""
    folder = file.resolve().parent
    if folder.is_relative_to(clone):
        return "/".join([*[".."] * len(folder.relative_to(clone).parts), SCHEMA])
    return (clone / SCHEMA).as_uri()


def _refuse(file: Path) -> None:
    """Say so of a file that is there before anything is asked.

    Raises:
        SweepError: if it is.
    """
    if file.exists():
        raise SweepError([Problem(str(file), None, "", "exists already", "name another file")])
