"""From a sweep file to a `Sweep`: every problem of the file at once, or the sweep and its warnings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from service.spec.calls import Calls, Finding
from service.spec.checks import Checks
from service.spec.document import Document, read
from service.spec.lookup import Modules
from service.spec.overrides import override
from service.spec.points import read_points
from service.spec.problem import Key, Problem, SweepError
from service.spec.space import Space, condition_problems, read_space
from service.spec.sweep import Sweep
from service.spec.template import OLD_RUN_WORDS, OLD_SWEEP_WORDS, as_pair, as_sweep, is_run_config, translate
from service.spec.words import unknown_words, wrong_values
from trainables.imports import CLONE
from trainables.run import COSTS, RunConfig


@dataclass(frozen=True, slots=True)
class Reading:
    """A sound sweep file.

    Attributes:
        sweep: what it says.
        document: where everything stands, for whoever has more to say about it.
        searched: where each searched parameter stands in it, by flat key.
        warnings: settings that can never act or do not fit, and notes on what was read as what.
    """

    sweep: Sweep
    document: Document
    searched: Mapping[str, Key]
    warnings: tuple[Problem, ...] = ()


def read_sweep(
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    optimize_config: str | Path | None = None,
    beside: Sequence[str] = (),
) -> Reading:
    """Read a sweep file, the template's pair of files, or a run config alone (a sweep of one trial).

    Nothing that the file names is imported.

    Args:
        path: the sweep file; with `optimize_config`, the run config.
        overrides: `key=value` each, as given to ``--set``.
        beside: further folders in which what it names is looked for.
        optimize_config: the template's second file, with the search space.

    Raises:
        SweepError: with every problem found.
    """
    document, folders = _gather(
        Path(path), None if optimize_config is None else Path(optimize_config), overrides
    )
    folders += [Path(folder) for folder in beside]
    document.value.setdefault("study_name", _as_name(Path(optimize_config or path).stem))
    problems = unknown_words(document, (), Sweep, OLD_SWEEP_WORDS)
    if "run" in document.value:
        problems += unknown_words(document, ("run",), RunConfig, OLD_RUN_WORDS)
    wrong_words, notes = translate(document)
    problems += wrong_words
    space = read_space(document)
    problems += space.problems
    sweep, wrong, broken = _validate(document, space, folders)
    problems += wrong
    findings = [] if sweep is None else _findings(document, sweep, space)
    findings = [found for found in findings if not any(found.key[: len(key)] == key for key in broken)]
    problems += [found.problem for found in findings if found.fatal]
    wrong_keys = [found.key for found in findings if found.fatal]
    suspect = [name for name, key in space.keys.items() if key in wrong_keys]
    points, more = read_points(document, space, suspect)
    problems += [*more, *condition_problems(document, space, suspect)]
    if problems or sweep is None:
        raise SweepError(_in_order(problems))
    sweep = sweep.model_copy(update={"points_to_evaluate": tuple(points)})
    if sweep.run.device == "cpu" and sweep.resources_per_trial.gpu is None:
        sweep = sweep.model_copy(
            update={"resources_per_trial": sweep.resources_per_trial.model_copy(update={"gpu": 0})}
        )
    sweep = _with_costs(sweep)
    notes += [found.problem for found in findings if not found.fatal]
    return Reading(sweep, document, space.keys, tuple(_in_order(notes)))


def _with_costs(sweep: Sweep) -> Sweep:
    """The run measures what of its costs the sweep goes by."""
    named = [metric.name for metric in sweep.metrics] + [each.metric for each in sweep.constraints]
    costs = tuple(cost for cost in COSTS if cost in named or cost in sweep.run.costs)
    return sweep.model_copy(update={"run": sweep.run.model_copy(update={"costs": costs})})


def _gather(
    path: Path, optimize_config: Path | None, overrides: Sequence[str]
) -> tuple[Document, list[Path]]:
    """Put the files and overrides together as one document; and the folders they came from."""
    document, folders = read(path), [path.parent]
    if optimize_config is not None:
        document = as_pair(document, read(optimize_config))
        folders.append(optimize_config.parent)
    elif is_run_config(document):
        document = as_sweep(document, _as_name(f"{document.value.get('project', 'run')}_{path.stem}"))
    problems: list[Problem] = []
    # First the overrides of `run` itself, then the file it may name, then what is laid over that.
    for text in sorted(overrides, key=lambda text: text.partition("=")[0].strip() != "run"):
        _graft_run(document, folders)
        try:
            override(document, text)
        except SweepError as error:
            problems += error.problems
    _graft_run(document, folders)
    if problems:
        raise SweepError(problems)
    return document, folders


def _graft_run(document: Document, folders: list[Path]) -> None:
    """Read the run config's own file, if `run` names one."""
    name = document.value.get("run")
    if not isinstance(name, str):
        return
    beside = folders[0] / name
    path = beside if _is_file(beside) else Path(name)
    try:
        inner = read(path, str(path))
    except SweepError as error:
        if _is_file(path):
            raise
        what = f"'{name}' cannot be read as a run config's file"
        raise SweepError(
            [document.problem(("run",), what, "give its path, from this file's folder")]
        ) from error
    document.graft(("run",), inner)
    folders.append(path.parent)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a whole text where a name belongs is longer than a name can be
        return False


def _as_name(text: str) -> str:
    """Make a file's stem or a project fit for a study's name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:80]
    return name or "sweep"


def _import_paths(folders: Iterable[Path]) -> tuple[str, ...]:
    """Where dotted paths are looked for: beside the files, in the working directory, in the clone."""
    return tuple(dict.fromkeys(str(folder.resolve()) for folder in (*folders, Path.cwd(), CLONE)))


def _validate(
    document: Document, space: Space, folders: list[Path]
) -> tuple[Sweep | None, list[Problem], list[Key]]:
    """Make the sweep; if some values are wrong, say so and make it without them, to check the rest.

    Returns:
        The sweep (None if too little is left of it), the problems, and the keys that were left out.
    """
    value = deepcopy(document.value) | {
        "search_space": space.parameters,
        "points_to_evaluate": (),  # read by themselves
        "import_paths": _import_paths(folders),
    }
    for word in ("sampler", "trial_scheduler", "tracking", "resources_per_trial", "stop", "budget"):
        if value.get(word, 0) is None:
            del value[word]  # `sampler:` with nothing behind it leaves the default
    try:
        return Sweep.model_validate(value), [], []
    except ValidationError as error:
        problems = wrong_values(document, error)
        broken = [_leave_out(value, detail["loc"], detail["type"] == "missing") for detail in error.errors()]
    try:
        return Sweep.model_validate(value), problems, broken
    except ValidationError:
        return None, problems, broken


def _leave_out(value: dict[str, Any], loc: Key, missing: bool) -> Key:
    """Take a wrong value out (or what lacks one); `run.data`, which has no default, gets a stand-in."""
    key = loc[:2] if loc[0] == "run" else loc[:1]
    if key == ("run", "data") and isinstance(value.get("run"), dict):
        value["run"]["data"] = "trainables.data.load_digits"
        return key
    holder = value.get("run") if len(key) == 2 else value
    if isinstance(holder, dict):
        holder.pop(str(key[-1]), None)
    return key


def _findings(document: Document, sweep: Sweep, space: Space) -> list[Finding]:
    modules = Modules(sweep.import_paths)
    return [*Calls(document, sweep, space, modules).findings(), *Checks(document, sweep, space).findings()]


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    """As the files go, each once; overrides, which have no line, first."""
    return sorted(
        dict.fromkeys(problems),
        key=lambda problem: (problem.line is not None, problem.file, problem.line or 0),
    )
