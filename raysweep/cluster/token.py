"""Finds the token for a cluster on this machine."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from raysweep.cluster.errors import ClusterError

TOKEN_FILE = ".ray/auth_token"


def find_token(environ: Mapping[str, str], home: Path) -> tuple[str, str] | None:
    """The token and where it was found, in Ray's order; None if there is none.

    Ray writes its token readable for everyone, which lets other users run code as us: the file is made
    readable for its owner only.

    Raises:
        ClusterError: if others can read the file, and its mode cannot be changed.

    >>> find_token({"RAY_AUTH_TOKEN": " abc "}, Path("/nowhere"))
    ('abc', 'RAY_AUTH_TOKEN')
    """
    if environ.get("RAY_AUTH_TOKEN", "").strip():
        return environ["RAY_AUTH_TOKEN"].strip(), "RAY_AUTH_TOKEN"
    named = environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else home / TOKEN_FILE
    try:
        token = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    if not token:
        return None
    if is_open_to_others(file):
        try:
            file.chmod(0o600)
        except OSError as error:
            raise ClusterError(
                f"{file}: others can read this token, and its mode cannot be changed ({error.strerror}); "
                f"chmod 600 {file}"
            ) from None
    return token, str(file)


def is_open_to_others(file: Path) -> bool:
    """Whether anyone but its owner may read or write a file."""
    return bool(stat.S_IMODE(file.stat().st_mode) & 0o077)
