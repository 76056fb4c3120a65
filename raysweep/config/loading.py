"""From a sweep file to a `Sweep`: every problem of the file at once, or the sweep and its warnings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysweep.config.document import Document, read
from raysweep.config.field_errors import unknown_words
from raysweep.config.known_metrics import fill_in_metrics
from raysweep.config.named_folders import take_import_paths
from raysweep.config.overrides import override
from raysweep.config.points_to_evaluate import read_points
from raysweep.config.problem import Key, Problem, SweepError
from raysweep.config.search_space import condition_problems, read_space
from raysweep.config.stage_loading import LoadedStages, read_stages
from raysweep.config.sweep import Sweep
from raysweep.config.template import (
    OLD_RUN_WORDS,
    OLD_SWEEP_WORDS,
    as_pair,
    as_sweep,
    is_run_config,
    translate,
)
from raysweep.config.validation import findings_of, validated
from trainables.run_config import COSTS, RunConfig


@dataclass(frozen=True, slots=True)
class LoadedSweep:
    """A sound sweep file.

    Attributes:
        sweep: what it says.
        document: where everything stands, for whoever has more to say about it.
        searched: where each searched parameter stands in it, by flat key.
        warnings: settings that can never act or do not fit, and notes on what was read as what.
        stages: of a staged sweep, every stage that searches, as it would without the stages before it.
    """

    sweep: Sweep
    document: Document
    searched: Mapping[str, Key]
    warnings: tuple[Problem, ...] = ()
    stages: tuple[LoadedSweep, ...] = ()


def read_sweep(
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    optimize_config: str | Path | None = None,
    beside: Sequence[str] = (),
) -> LoadedSweep:
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
    named, problems, missing = take_import_paths(document)
    folders += [*named, *(Path(folder) for folder in beside)]
    document.value.setdefault("study_name", _as_name(Path(optimize_config or path).stem))
    problems += unknown_words(document, (), Sweep, OLD_SWEEP_WORDS)
    if "run" in document.value:
        problems += unknown_words(document, ("run",), RunConfig, OLD_RUN_WORDS)
    wrong_words, notes = translate(document)
    notes += missing
    problems += wrong_words
    fill_in_metrics(document)
    space = read_space(document)
    problems += space.problems
    sweep, wrong, broken = validated(document, space, folders)
    problems += wrong
    staged = (
        read_stages(document, sweep, space, folders) if sweep is not None and sweep.stages else LoadedStages()
    )
    problems += staged.problems
    findings = staged.findings
    if sweep is not None and not sweep.stages:
        findings = findings_of(document, sweep, space)
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
    stages = tuple(LoadedSweep(mine, own, part.keys) for own, mine, part in staged.parts)
    return LoadedSweep(sweep, document, space.keys, tuple(_in_order(notes)), stages)


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


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    """As the files go, each once; overrides, which have no line, first."""
    return sorted(
        dict.fromkeys(problems),
        key=lambda problem: (problem.line is not None, problem.file, problem.line or 0),
    )
