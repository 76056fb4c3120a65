"""Checks that a tracking store can be reached, without importing mlflow."""

from __future__ import annotations

import os

from raysweep.config import SweepError
from raysweep.tracking.address import SERVER, refuse_file_store, sqlite_path, unreachable_database
from raysweep.tracking.store import Unreachable, check_health


def trouble_with(uri: str) -> str:
    """Why MLflow's store at `uri` cannot be written to, in one line; "" if no reason is known.

    A server must answer to its health check, a database accept a connection, a file be writable.
    """
    if uri.startswith(SERVER):
        try:
            check_health(uri, timeout_s=5.0)
        except Unreachable as error:
            return str(error)
    elif (path := sqlite_path(uri)) is not None:
        existing = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
        if not os.access(existing, os.W_OK):
            return f"{uri}: {existing} cannot be written to"
    else:
        try:
            refuse_file_store(uri, os.environ)
        except SweepError as error:
            return str(error)
        return unreachable_database(uri)
    return ""
