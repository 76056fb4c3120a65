"""Files of a study logged to a run that exists: a report beside the sweep it is about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from raysweep.tracking import cursor
from raysweep.tracking.store import Refused, Store, Unreachable


def attach(uri: str, experiment_id: str, parent_run_id: str, files: Sequence[Path], folder: str) -> None:
    """Log files as artifacts of a run; files of the same name there are replaced.

    Args:
        uri: MLflow's tracking URI.
        experiment_id: where the run is; in messages only, for a run's id is its own.
        parent_run_id: the run.
        files: to log.
        folder: of the artifacts they go to.

    Raises:
        Unreachable: if the store does not answer.
        Refused: if the run is gone, or its artifacts cannot be written.
    """
    store = Store(uri, study_id="")
    if not store.has_run(parent_run_id):
        raise Refused(f"run {parent_run_id} of experiment {experiment_id} is gone from {uri}")
    for file in files:
        store.log_file(parent_run_id, file, folder)


def attach_to_study(study: Path, files: Sequence[Path], folder: str) -> str:
    """Log files to a study's own run; never fails for MLflow's sake.

    Returns:
        What went wrong, "" if nothing did.
    """
    known, _ = cursor.load(study / cursor.FILE)
    if not known.parent:
        return "MLflow has not seen this study"
    try:
        attach(known.uri, known.experiment_id, known.parent, files, folder)
    except (Unreachable, Refused) as error:
        return str(error)
    return ""
