"""Runs or resumes a study, with or without stages."""

from __future__ import annotations

from raysweep.cluster.target import Target
from raysweep.config import Sweep
from raysweep.runner.run_study import run_study
from raysweep.study.storage.layout import StudyFolder


def run_or_resume(sweep: Sweep, folder: StudyFolder, target: Target, *, check: bool = True) -> int:
    """Run the rest of a study, or of its stages one by one, and return the exit code; see `run_study`."""
    if not sweep.stages:
        return run_study(sweep, folder, target, check=check)
    from raysweep.runner.run_stages import run_stages  # imports optuna

    return run_stages(sweep, folder, target, check=check)
