"""`raysweep.run` and `raysweep.open`: a sweep run to its end, and a study that there is."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from raysweep.api.calls import overrides, shown, target_of
from raysweep.api.study import Study
from raysweep.config import Problem, Sweep, SweepError
from raysweep.preflight import check_file
from raysweep.runner.common import find_study, load_checked, root_of, try_sweep, warn
from raysweep.runner.new_study import create_study, run_new_study
from raysweep.runner.resolve import resolve_sweep
from raysweep.study.results.retrain import as_file

AnySweep = Sweep | Mapping[str, Any] | str | Path
"""A sweep, or its words, or the path of its file."""


def run(
    sweep: AnySweep,
    *,
    set: Mapping[str, Any] | None = None,
    name: str | None = None,
    runs: str | Path | None = None,
    address: str | None = None,
    preflight: bool | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Study:
    """Run a sweep to its end, as `launch.py run` does.

    On the Ray that this process is connected to, if there is one; else on the one of `address` or
    `RAY_ADDRESS`, else on one of its own on this machine. Ctrl-C (a notebook's stop button) finishes the
    running epochs and saves everything; `Study.resume` goes on.

    Args:
        sweep: a sweep file's path, its words as nested mappings, or a `Sweep`.
        set: settings to lay over it, by dotted key: `{"run.epochs": 3, "trials": 10}`.
        name: of the study; the sweep's `study_name` if None.
        runs: the folder that studies go to; the sweep's `storage`, else runs/, if None.
        address: of a Ray that this machine is a node of.
        preflight: True tries everything first, False nothing; None its data and its first step.
        resume: carry a study of this name on, if there is one, instead of refusing to begin another.
        progress: whether the sweep is shown as it runs.

    Returns:
        The study. That it ended without a result is no error here; its `state` and its `best` say so.

    Raises:
        SweepError: if the sweep is not sound, with every problem found.
        PreflightFailed: if no trial can go well.
        StudyExists: if there is a study of this name already.
        ClusterError: if there is no Ray at `address`, or nothing there fits a trial.
    """
    root, is_own = None if runs is None else Path(runs), isinstance(sweep, str | Path)
    with _as_file(sweep) as file, shown(progress):
        read = _load(file, overrides(set), root, is_own=is_own)
        if name:
            read = read.model_copy(update={"study_name": name})
        folder = root_of(read, root) / read.study_name
        if resume and (folder / "study.json").exists():
            return open(folder).resume(address=address, progress=progress)
        target = target_of(address)
        chosen_sweep, chosen = resolve_sweep(read, target, file)
        if preflight:
            try_sweep(chosen_sweep, root, target).require()
        own = file if is_own else None
        text = file.read_text(encoding="utf-8")
        study = create_study(chosen_sweep, root, target, chosen, text=text, file=own)
        run_new_study(study, target, check=preflight is not False)
    return Study(study)


def open(study: str | Path, *, runs: str | Path = "runs") -> Study:
    """A study that there is: finished, interrupted or running.

    Args:
        study: its folder, its URI, or its name under `runs`.
        runs: the folder that studies are in.

    Raises:
        NotAStudy: if there is none.
    """
    return Study(find_study(str(study), Path(runs), staged=True))


def _load(file: Path, settings: list[str], runs: Path | None, *, is_own: bool) -> Sweep:
    """The sweep of a file, found sound; what is odd of it is printed."""
    if is_own:
        return load_checked(file, overrides=settings, runs=runs)
    seen = check_file.load_checked(file, overrides=settings, runs=runs)
    assert seen.sweep is not None, "an unsound sweep raises"
    warn(_without_file(each, file) for each in seen.warnings)
    return seen.sweep


@contextlib.contextmanager
def _as_file(sweep: AnySweep) -> Iterator[Path]:
    """The sweep as a file; problems of one that is none are said without a line.

    Raises:
        SweepError: from the block.
    """
    if isinstance(sweep, str | Path):
        yield Path(sweep)
        return
    text = as_file(sweep, ["written by raysweep.run"])
    with tempfile.TemporaryDirectory(prefix="raysweep-") as folder:
        file = Path(folder) / "sweep.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            yield file
        except SweepError as error:
            raise SweepError(_without_file(each, file) for each in error.problems) from None


def _without_file(problem: Problem, file: Path) -> Problem:
    """A problem of a sweep that stands in no file of the user's."""
    return replace(problem, file="sweep", line=None) if problem.file == str(file) else problem
