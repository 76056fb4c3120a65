"""`raysweep.run` and `raysweep.open`: running a sweep, and opening an existing study."""

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
from raysweep.study.storage.layout import StudyExists, StudyNameExists
from raysweep.study.storage.object_store import uri_of

AnySweep = Sweep | Mapping[str, Any] | str | Path
"""A sweep, the contents of a sweep file, or its path."""


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
    running epochs and saves everything; `Study.resume` continues.

    Args:
        sweep: a sweep file's path, its contents as nested mappings, or a `Sweep`.
        set: settings to override, by dotted key: `{"run.epochs": 3, "trials": 10}`.
        name: of the study; the sweep's `study_name` if None.
        runs: the folder where studies are kept; the sweep's `storage`, else runs/, if None.
        address: of a Ray of which this machine is a node.
        preflight: True does the whole preflight first, False checks nothing; None checks the data and the
            first step.
        resume: whether to resume an existing study of this name instead of raising `StudyExists`.
        progress: whether progress is shown.

    Returns:
        The study. Ending without a result is not an error here; its `state` and its `best` say so.

    Raises:
        SweepError: if the sweep is not valid, with every problem found.
        PreflightFailed: if no trial can succeed.
        StudyExists: if a study of this name exists already.
        ClusterError: if there is no Ray at `address`, or no trial fits there.
    """
    root, has_file = None if runs is None else Path(runs), isinstance(sweep, str | Path)
    with _as_file(sweep) as file, shown(progress):
        loaded = _load(file, overrides(set), root, has_file=has_file)
        if name:
            loaded = loaded.model_copy(update={"study_name": name})
        folder = root_of(loaded, root) / loaded.study_name
        if resume and (folder / "study.json").exists():
            return open(folder).resume(address=address, progress=progress)
        target = target_of(address)
        resolved, chosen = resolve_sweep(loaded, target, file)
        if preflight:
            try_sweep(resolved, root, target).require()
        text = file.read_text(encoding="utf-8")
        own_file = file if has_file else None
        try:
            study = create_study(resolved, root, target, chosen, text=text, file=own_file)
        except StudyNameExists as error:
            how = f"raysweep.open({error.study!r}).resume()" if uri_of(error.study) else "resume=True"
            message = f"{error.study} already holds a study: continue it with {how}, or choose another name="
            raise StudyExists(message) from None
        run_new_study(study, target, check=preflight is not False)
    return Study(study)


def open(study: str | Path, *, runs: str | Path = "runs") -> Study:
    """Open an existing study: finished, interrupted or running.

    Args:
        study: its folder, its URI, or its name under `runs`.
        runs: the folder where studies are kept.

    Raises:
        NotAStudy: if there is none.
    """
    return Study(find_study(str(study), Path(runs), staged=True))


def _load(file: Path, settings: list[str], runs: Path | None, *, has_file: bool) -> Sweep:
    """Load a valid sweep and print its warnings; `has_file`: whether the file is the user's own."""
    if has_file:
        return load_checked(file, overrides=settings, runs=runs)
    result = check_file.load_checked(file, overrides=settings, runs=runs)
    assert result.sweep is not None, "an invalid sweep raises"
    warn(_without_file(each, file) for each in result.warnings)
    return result.sweep


@contextlib.contextmanager
def _as_file(sweep: AnySweep) -> Iterator[Path]:
    """The sweep as a file; problems of a sweep without a file of its own name no file and line.

    Raises:
        SweepError: from the `with` block.
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
    """A problem without the name and line of our temporary file."""
    return replace(problem, file="sweep", line=None) if problem.file == str(file) else problem
