"""Attaches files, such as a report, to the existing run of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from raysweep.tracking import cursor
from raysweep.tracking.store import Refused, Store, Unreachable


def attach(uri: str, experiment_id: str, parent_run_id: str, files: Sequence[Path], folder: str) -> None:
    """Log files as artifacts of a run, replacing files of the same name.

    Args:
        uri: MLflow's tracking URI.
        experiment_id: of the run, for messages.
        parent_run_id: of the run.
        files: to log.
        folder: among the run's artifacts.

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
    """Log files to a study's own run; errors of MLflow are returned, not raised.

    Returns:
        The error, or "".
    """
    sent, _ = cursor.load(study / cursor.FILE)
    if not sent.parent:
        return "MLflow has no run of this study"
    try:
        attach(sent.uri, sent.experiment_id, sent.parent, files, folder)
    except (Unreachable, Refused) as error:
        return str(error)
    return ""
