"""Whether a tracking store can be told anything, without importing mlflow."""

from __future__ import annotations

import os
from pathlib import Path

from service.tracking.store import Unreachable, check_health

SQLITE = "sqlite:///"


def trouble_with(uri: str) -> str:
    """What keeps MLflow's store at `uri` from being told, in one line; empty if nothing is known to.

    A server is asked whether it is well; of a file it is seen whether it can be written. Of other
    databases nothing is known until they are used.
    """
    if uri.startswith(("http://", "https://")):
        try:
            check_health(uri, timeout_s=5.0)
        except Unreachable as error:
            return str(error)
    elif uri.startswith((SQLITE, "file:")) or "://" not in uri:
        path = Path(uri.removeprefix(SQLITE).removeprefix("file://").removeprefix("file:"))
        there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
        if not os.access(there, os.W_OK):
            return f"{uri}: {there} cannot be written to"
    return ""
