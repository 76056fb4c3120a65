"""Passwords in addresses, which are used but never written to a study."""

from __future__ import annotations

import os
import re

OPTUNA_STORAGE = "RAYSWEEP_OPTUNA_STORAGE"
"""Environment variable with a database's address and password, for later attempts."""
_PASSWORD = re.compile(r"(?<=://)([^/\s:@'\"]*):[^@\s'\"]+@")
_HIDDEN = ":***@"


def hide_passwords(text: str) -> str:
    """Replace the passwords in the addresses of a text.

    >>> hide_passwords("run a.yaml --set tracking.uri=https://ada:secret@mlflow.example")
    'run a.yaml --set tracking.uri=https://ada:***@mlflow.example'
    """
    return _PASSWORD.sub(rf"\1{_HIDDEN}", text)


def keep_outside(address: str | None) -> str | None:
    """Put a database's address into the environment if it has a password; return it without one."""
    hidden = hide_passwords(address) if address else address
    if address and hidden != address:
        os.environ[OPTUNA_STORAGE] = address
    return hidden


def with_password(address: str) -> str:
    """A database's address with its password, if the environment has it; else as it is."""
    complete = os.environ.get(OPTUNA_STORAGE, "")
    return complete if _HIDDEN in address and hide_passwords(complete) == address else address
