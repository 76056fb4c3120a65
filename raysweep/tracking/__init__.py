"""Experiment tracking: MLflow, which only the tracking process imports."""

from raysweep.tracking.address import log_in, refuse_file_store, without_login
from raysweep.tracking.cursor import store_of
from raysweep.tracking.parent_run import FinalState
from raysweep.tracking.process import TrackingProcess, count_unsent
from raysweep.tracking.provenance import provenance, source_folder
from raysweep.tracking.reachability import trouble_with
from raysweep.tracking.runs import ParentRun, SweepFacts, store_uri, ui_command, ui_link
from raysweep.tracking.tracker import Tracker

__all__ = [
    "FinalState",
    "ParentRun",
    "SweepFacts",
    "Tracker",
    "TrackingProcess",
    "count_unsent",
    "log_in",
    "provenance",
    "refuse_file_store",
    "source_folder",
    "store_of",
    "store_uri",
    "trouble_with",
    "ui_command",
    "ui_link",
    "without_login",
]
