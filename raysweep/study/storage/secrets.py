"""Passwords in addresses: used, and never written down in a study."""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping

OPTUNA_STORAGE = "RAYSWEEP_OPTUNA_STORAGE"  # environment: the address with its password, for later attempts
_PASSWORD = re.compile(r"(?<=://)([^/\s:@'\"]*):[^@\s'\"]+@")
_HIDDEN = ":***@"


def hide_passwords(text: str) -> str:
    """A text without the passwords of the addresses in it.

    >>> hide_passwords("run a.yaml --set tracking.uri=https://ada:secret@mlflow.example")
    'run a.yaml --set tracking.uri=https://ada:***@mlflow.example'
    """
    return _PASSWORD.sub(rf"\1{_HIDDEN}", text)


def keep_outside(address: str | None, environ: MutableMapping[str, str] = os.environ) -> str | None:
    """Put a database's address with its password into the environment; the address for the study."""
    hidden = hide_passwords(address) if address else address
    if address and hidden != address:
        environ[OPTUNA_STORAGE] = address
    return hidden


def with_password(address: str, environ: MutableMapping[str, str] = os.environ) -> str:
    """A database's address as it was given, if the environment has its password."""
    known = environ.get(OPTUNA_STORAGE, "")
    return known if _HIDDEN in address and hide_passwords(known) == address else address
