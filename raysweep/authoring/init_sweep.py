"""`launch.py init`: writes a new sweep file from answers, the training template's files or a W&B sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysweep.authoring.convert import check_same, convert_template
from raysweep.authoring.interview import interview, sweep_text, write
from raysweep.authoring.schema_docs import SCHEMA
from raysweep.authoring.table_interview import Ask, Tell
from raysweep.authoring.wandb_sweep import convert_wandb
from raysweep.config import Problem, SweepError
from raysweep.preflight.check_file import CheckResult


def init_from_answers(
    file: Path, given: Mapping[str, Any], ask: Ask, tell: Tell, *, cpus: int, gpus: int, clone: Path
) -> CheckResult:
    """Interview the user, and write a file that `check` has no advice on.

    Advice against what the user asked for is silenced in the file, by name.

    Args:
        file: to be written.
        given: answers that need no question; see `interview`.
        ask: asks the user, or answers with the default.
        tell: prints a line.
        cpus: of this machine.
        gpus: of this machine.
        clone: where docs/ is.

    Raises:
        SweepError: if the file exists already, or the answers make no valid sweep; no file is left then.
    """
    _refuse_existing(file)
    answers = interview(given, ask, tell, cpus=cpus, gpus=gpus)
    result = write(file, sweep_text(answers, str(file), schema_from(file, clone)))
    if result.advice:
        file.unlink()
        ignored = tuple(dict.fromkeys(one.name for one in result.advice))
        result = write(file, sweep_text(answers, str(file), schema_from(file, clone), ignored))
    return result


def init_from_template(file: Path, run: Path, optimize: Path, *, clone: Path) -> CheckResult:
    """Merge the template's two files into one sweep file that means the same.

    Raises:
        SweepError: if the file exists already, or the two cannot be merged line by line.
    """
    _refuse_existing(file)
    text = convert_template(run, optimize, schema_from(file, clone))
    try:
        result = write(file, text)
    except SweepError:
        if file.exists():
            raise  # made by another process meanwhile, or it could not be written
        result = None
    if result is None or not check_same(file, run, optimize):
        file.unlink(missing_ok=True)
        fix = f"run them as they are: launch.py {run} --optimize-config {optimize}"
        raise SweepError([Problem(str(optimize), None, "", "cannot be merged line by line", fix)])
    return result


def init_from_wandb(file: Path, wandb: Path, *, clone: Path) -> CheckResult:
    """Convert a W&B sweep configuration to a sweep file.

    Raises:
        SweepError: if the file exists already, W&B's uses something without a counterpart, or its script is
            not found from the new file; no file is left then.
    """
    _refuse_existing(file)
    return write(file, convert_wandb(wandb, schema_from(file, clone)))


def schema_from(file: Path, clone: Path) -> str:
    """Where an editor that has `file` open finds the schema: relative within the clone, else as a URL."""
    folder = file.resolve().parent
    if folder.is_relative_to(clone):
        return "/".join([*[".."] * len(folder.relative_to(clone).parts), SCHEMA])
    return (clone / SCHEMA).as_uri()


def _refuse_existing(file: Path) -> None:
    """Raise before any question if the file exists.

    Raises:
        SweepError: if it does.
    """
    if file.exists():
        raise SweepError([Problem(str(file), None, "", "exists already", "name another file")])
