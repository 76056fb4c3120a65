"""Run what of a study has not been run, whether it has stages or not."""

from __future__ import annotations

from raysweep.cluster.target import Target
from raysweep.config import Sweep
from raysweep.runner.run_study import run_study
from raysweep.study.storage.layout import StudyFolder


def run_or_resume(sweep: Sweep, folder: StudyFolder, target: Target, *, check: bool = True) -> int:
    """Run what of a study has not been run, its stages one by one if it has some; see `run_study`."""
    if not sweep.stages:
        return run_study(sweep, folder, target, check=check)
    from raysweep.runner.run_stages import run_stages  # optuna, for the spaces

    return run_stages(sweep, folder, target, check=check)
