"""Loads a sweep file: all of its problems at once, or the sweep and its warnings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysweep.config.document import Document, read
from raysweep.config.field_errors import unknown_keys
from raysweep.config.known_metrics import fill_in_metrics
from raysweep.config.named_folders import take_import_paths
from raysweep.config.overrides import override
from raysweep.config.points_to_evaluate import read_points
from raysweep.config.problem import Key, Problem, SweepError
from raysweep.config.search_space import condition_problems, read_space
from raysweep.config.stage_loading import LoadedStages, read_stages
from raysweep.config.sweep import Sweep
from raysweep.config.template import (
    OLD_RUN_KEYS,
    OLD_SWEEP_KEYS,
    as_pair,
    as_sweep,
    is_run_config,
    translate,
)
from raysweep.config.validation import findings_of, validated
from trainables.run_config import COSTS, RunConfig


@dataclass(frozen=True, slots=True)
class LoadedSweep:
    """A valid sweep file.

    Attributes:
        sweep: the sweep.
        document: the file with positions, for further checks.
        searched: key of each searched parameter in the document, by flat key.
        warnings: on settings without effect or that do not fit, and on what was translated.
        stages: of a staged sweep, each stage that searches, as if there were no stages before it.
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
        optimize_config: the template's second file, with the search space.
        beside: further folders to look for modules and files.

    Raises:
        SweepError: with all problems.
    """
    document, folders = _gather(
        Path(path), None if optimize_config is None else Path(optimize_config), overrides
    )
    import_paths, problems, missing = take_import_paths(document)
    folders += [*import_paths, *(Path(folder) for folder in beside)]
    document.value.setdefault("study_name", as_study_name(Path(optimize_config or path).stem))
    unknown = unknown_keys(document, (), Sweep, OLD_SWEEP_KEYS)
    if "run" in document.value:
        unknown += unknown_keys(document, ("run",), RunConfig, OLD_RUN_KEYS)
    untranslatable, notes = translate(document)
    notes += missing
    problems += untranslatable
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
    findings = [each for each in findings if not any(each.key[: len(key)] == key for key in broken)]
    problems += [each.problem for each in findings if each.fatal]
    wrong_keys = [each.key for each in findings if each.fatal]
    suspect = [name for name, key in space.keys.items() if key in wrong_keys]
    points, more = read_points(document, space, suspect)
    problems += [*more, *condition_problems(document, space, suspect)]
    if problems or unknown or sweep is None:
        at = {(each.file, each.line, each.key) for each in unknown}  # else a guess would be criticised, too
        others = [each for each in problems if (each.file, each.line, each.key) not in at]
        raise SweepError(_in_order([*unknown, *others]))
    sweep = sweep.model_copy(update={"points_to_evaluate": tuple(points)})
    if sweep.run.device == "cpu" and sweep.resources_per_trial.gpu is None:
        sweep = sweep.model_copy(
            update={"resources_per_trial": sweep.resources_per_trial.model_copy(update={"gpu": 0})}
        )
    sweep = _with_costs(sweep)
    notes += [each.problem for each in findings if not each.fatal]
    stages = tuple(
        LoadedSweep(of_stage, stage_document, stage_space.keys)
        for stage_document, of_stage, stage_space in staged.searches
    )
    return LoadedSweep(sweep, document, space.keys, tuple(_in_order(notes)), stages)


def _with_costs(sweep: Sweep) -> Sweep:
    """The sweep whose run measures the costs among its metrics and constraints."""
    names = [metric.name for metric in sweep.metrics] + [each.metric for each in sweep.constraints]
    costs = tuple(cost for cost in COSTS if cost in names or cost in sweep.run.costs)
    return sweep.model_copy(update={"run": sweep.run.model_copy(update={"costs": costs})})


def _gather(
    path: Path, optimize_config: Path | None, overrides: Sequence[str]
) -> tuple[Document, list[Path]]:
    """Combine files and overrides into one document; returns it and the folders of the files."""
    document, folders = read(path), [path.parent]
    if optimize_config is not None:
        document = as_pair(document, read(optimize_config))
        folders.append(optimize_config.parent)
    elif is_run_config(document):
        document = as_sweep(document, as_study_name(f"{document.value.get('project', 'run')}_{path.stem}"))
    problems: list[Problem] = []
    # First overrides of `run` itself, then the file that it may name, then overrides of its values.
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
    """Replace `run` by the run config's file, if it names one."""
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
    except OSError:  # a long text instead of a name exceeds the length of a path
        return False


def as_study_name(text: str) -> str:
    """Turn a file's stem or a project into a valid study name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:80]
    return name or "sweep"


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    """In the order of the files, without duplicates; overrides, which have no line, first."""
    return sorted(
        dict.fromkeys(problems),
        key=lambda problem: (problem.line is not None, problem.file, problem.line or 0),
    )
