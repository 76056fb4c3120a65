"""Runs a retraining, from its folder to the registered model, for `launch.py retrain` and `Study.retrain`."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from raysweep.cluster.target import Target
from raysweep.console.console import stdout
from raysweep.console.rows import print_row
from raysweep.runner.common import echo_err
from raysweep.runner.run_study import run_study
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.lock import lock
from raysweep.study.storage.secrets import hide_passwords
from raysweep.study.storage.sync import synced_storage


def prepare_retraining(
    study: StudyFolder, name: str, overrides: Sequence[str] = (), **race: int | None
) -> StudyFolder:
    """Make or find the folder of a study's retraining; see `raysweep.study.results.retrain.prepare`."""
    from raysweep.study.results.retrain import prepare, retraining_of_study
    from raysweep.study.stages.state import staged_retraining

    make = staged_retraining if study.stored_sweep().stages else retraining_of_study
    return prepare(study, name, overrides=overrides, make=make, **race)


def run_retraining(folder: StudyFolder, home: Path, target: Target) -> int:
    """Run the rest of a retraining, then score its winner; returns the exit code.

    Args:
        folder: of the retraining.
        home: the folder of the retrained study.
        target: where it runs.
    """
    from raysweep.study.results.retrain import is_over

    failed = 0 if is_over(folder) else run_study(folder.sweep(), folder, target, check=False)
    if failed:
        echo_err("run the same `launch.py retrain` again to resume it and score the winner")
    return failed or conclude_retraining(folder, home)


def conclude_retraining(folder: StudyFolder, home: Path) -> int:
    """Score the winner of a retraining, write its model, register it, and print the results."""
    from raysweep.console.retrain import print_retraining
    from raysweep.study.results.finalize import finalize_retraining
    from raysweep.tracking import store_of
    from raysweep.tracking.model_registry import register_once

    console, sweep = stdout(), folder.sweep()
    with lock(folder.lock_file, shlex.join(sys.argv)), synced_storage(StudyFolder.open(home)):
        result = finalize_retraining(folder, home, by=hide_passwords(shlex.join(sys.argv)), clock=time.time)
        print_retraining(console, result, folder.path)
        if result["model"] is not None:
            uri = store_of(sweep.tracking.uri, os.environ, Path.cwd(), folder.path)
            message, trouble = register_once(folder.path, home.name, uri, result)
            print_row(console, "registered", message or trouble, "yellow" if trouble else "")
    return 0
