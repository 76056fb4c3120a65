"""The token that a cluster of ours asks for: where it lies on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

TOKEN_FILE = ".ray/auth_token"


def find_token(environ: Mapping[str, str], home: Path) -> tuple[str, str] | None:
    """The token and where it was found, in the order Ray looks; None where there is none.

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
    return (token, str(file)) if token else None
