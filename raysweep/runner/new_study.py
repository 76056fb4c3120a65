"""Makes and runs a new study; shared by `launch.py run` and `raysweep.run`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.machine import this_machine
from raysweep.cluster.target import Target
from raysweep.config import Sweep
from raysweep.preflight.check import PreflightFailed
from raysweep.runner.common import root_of, storage_of
from raysweep.runner.run_or_resume import run_or_resume
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from raysweep.study.storage.code_snapshot import keep_code
from raysweep.study.storage.layout import StudyFolder, below
from raysweep.study.storage.locations import check_new
from raysweep.study.storage.object_store import uri_of
from raysweep.study.storage.secrets import keep_outside


def run_new_study(folder: StudyFolder, target: Target, *, check: bool) -> int:
    """Run a study that was just made and return the exit code; if it cannot begin, its folder is removed.

    Raises:
        PreflightFailed: if `check`, and no trial can succeed.
        ClusterError: if there is nowhere to run it.
    """
    try:
        return run_or_resume(folder.sweep(), folder, target, check=check)
    except (PreflightFailed, ClusterError):
        if not has_epochs(folder):
            folder.remove()  # nothing is lost, and the fixed sweep can use the name
        raise


def create_study(
    sweep: Sweep,
    runs: Path | None,
    target: Target,
    chosen: Mapping[str, str],
    *,
    text: str,
    file: Path | None = None,
    args: Sequence[str] = (),
) -> StudyFolder:
    """Make the folder of a new study.

    Args:
        sweep: with all its choices made.
        runs: where studies are kept; None for the sweep's own storage.
        target: where it will run.
        chosen: see `resolve_sweep`.
        text: the sweep as the user wrote it.
        file: the sweep file, if there is one.
        args: of the command line.

    Raises:
        CannotPlace: if it will run on this machine, and this has no slot for a trial.
        ClusterError: if the folder cannot be written.
    """
    if target.kind == "here":
        this_machine().slots(sweep.resources_per_trial, sweep.max_concurrent_trials)
    root, uri = root_of(sweep, runs), uri_of(storage_of(sweep, runs))
    far = below(uri, sweep.study_name) if uri else ""
    if far:
        check_new(far)
    sweep = without_secrets(sweep)

    def fill(folder: StudyFolder) -> None:
        keep_code(folder, sweep)
        if chosen:
            folder.chosen_file.write_text(json.dumps(chosen, indent=1), encoding="utf-8")

    try:
        return StudyFolder.create(root, sweep.study_name, sweep, text, far, args, file=file, fill=fill)
    except OSError as error:
        raise ClusterError(f"storage: {root}: cannot be written ({error.strerror})") from None


def has_epochs(folder: StudyFolder) -> bool:
    """Whether a study, or one of its stages, has reported an epoch."""
    return any(fold(read_events(each.journal_dir)).epochs for each in (folder, *folder.stages()))


def without_secrets(sweep: Sweep) -> Sweep:
    """The sweep without its passwords, which are put into this process's environment.

    Raises:
        SweepError: if its tracking URI is a store that MLflow does not support.
    """
    from raysweep.tracking import log_in, refuse_file_store, store_uri

    refuse_file_store(store_uri(sweep.tracking.uri, os.environ, Path.cwd()), os.environ)
    tracking = sweep.tracking
    if tracking.uri is not None:
        log_in(tracking.uri, os.environ)
        tracking = tracking.model_copy(update={"uri": store_uri(tracking.uri, {}, Path.cwd())})
    hidden = {"tracking": tracking, "optuna_storage": keep_outside(sweep.optuna_storage)}
    return sweep.model_copy(update=hidden)
