"""FLOOR 3: what is remembered. The only room that knows mlflow, which its process imports."""

from service.tracking.address import log_in, refuse_file_store, without_login
from service.tracking.cursor import store_of
from service.tracking.process import TrackingProcess, waiting
from service.tracking.provenance import provenance
from service.tracking.reach import trouble_with
from service.tracking.runs import SweepFacts, Umbrella, store_uri, ui_command, ui_link
from service.tracking.tracker import Tracker
from service.tracking.umbrella import Goodbye

__all__ = [
    "Goodbye",
    "SweepFacts",
    "Tracker",
    "TrackingProcess",
    "Umbrella",
    "log_in",
    "provenance",
    "refuse_file_store",
    "store_of",
    "store_uri",
    "trouble_with",
    "ui_command",
    "ui_link",
    "waiting",
    "without_login",
]
