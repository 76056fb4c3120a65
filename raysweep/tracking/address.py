"""The address of MLflow's store: its forms, its login, and checks before anything runs.

Nothing here imports mlflow.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, MutableMapping
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from raysweep.config import Problem, SweepError
from raysweep.config.problem import suggestion
from raysweep.study.storage.secrets import hide_passwords

SQLITE = "sqlite:///"
SERVER = ("http://", "https://")
URI, USER, PASSWORD, TOKEN = (f"MLFLOW_TRACKING_{word}" for word in ("URI", "USERNAME", "PASSWORD", "TOKEN"))
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
KINDS = ("http", "https", "sqlite", *PORTS, "databricks", "databricks-uc", "uc", "file", "")
PROBE_S = 5.0
_FILE_STORE = re.compile(r"file:|(?![a-z][a-z0-9+.-]*:)", re.IGNORECASE)  # or a bare path


def sqlite_uri(path: Path) -> str:
    """The SQLAlchemy URI of an SQLite file.

    >>> sqlite_uri(Path("/home/me/my project/mlflow.db")), sqlite_uri(Path("/home/a?b/50%/mlflow.db"))
    ('sqlite:////home/me/my project/mlflow.db', 'sqlite:////home/a%3Fb/50%25/mlflow.db')
    """
    text = str(path)
    return SQLITE + (quote(text, safe="/ ") if re.search("[?%#]", text) else text)


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite store; None for any other store.

    >>> sqlite_path("sqlite:////home/a%3Fb/mlflow.db")
    PosixPath('/home/a?b/mlflow.db')
    """
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0])) if uri.startswith(SQLITE) else None


def absolute(uri: str, here: Path) -> str:
    """A store's address with the path of an SQLite file made absolute, from `here`.

    >>> absolute("sqlite:///mlflow.db", Path("/home/me")), absolute("sqlite://", Path("/home/me"))
    ('sqlite:////home/me/mlflow.db', 'sqlite://')
    """
    path = sqlite_path(uri)
    if path is None or path.is_absolute() or str(path) in (".", ":memory:"):
        return uri
    return sqlite_uri(here / path)


def without_login(uri: str) -> str:
    """A server's address without user and password; any other address unchanged.

    >>> without_login("https://ada:secret@mlflow.example/x"), without_login("sqlite:///mlflow.db")
    ('https://mlflow.example/x', 'sqlite:///mlflow.db')
    """
    if not uri.startswith(SERVER) or "@" not in uri:
        return uri
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def log_in(uri: str, environ: MutableMapping[str, str]) -> str:
    """Move the user and password of an address to the variables that MLflow's client reads.

    They are taken from the address itself, or from `MLFLOW_TRACKING_URI` if that is the same server.
    Variables that are set already are kept.

    Returns:
        The address without them.
    """
    bare = without_login(uri)
    for address in (uri, environ.get(URI, "")):
        if address != bare and without_login(address) == bare and PASSWORD not in environ:
            parts = urlsplit(address)
            environ.setdefault(USER, unquote(parts.username or ""))
            environ[PASSWORD] = unquote(parts.password or "")
    if environ.get(URI, bare) != bare and without_login(environ[URI]) == bare:
        environ[URI] = bare
    return bare


def refuse_file_store(uri: str, environ: Mapping[str, str]) -> None:
    """Raise for a store of plain files, which MLflow no longer supports, or of a kind that it does not know.

    Raises:
        SweepError: if it is one.
    """
    kind = uri.partition(":")[0].partition("+")[0].lower() if ":" in uri else ""
    if kind not in KINDS and not entry_points(group="mlflow.tracking_store", name=kind):
        what = f"{hide_passwords(uri)}: MLflow knows no store '{kind}'; {suggestion(kind, KINDS[:-1])}"
        raise SweepError([Problem("MLflow", None, "tracking.uri", what)])
    if _FILE_STORE.match(uri) and environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("true", "1"):
        what = (
            f"{uri}: MLflow no longer keeps runs in plain files; write sqlite:///mlflow.db (its tool "
            "`mlflow migrate-filestore` converts old runs), or set MLFLOW_ALLOW_FILE_STORE=true"
        )
        raise SweepError([Problem("MLflow", None, "tracking.uri", what)])


def unreachable_database(uri: str) -> str:
    """Why a database cannot be reached, in one line; "" if it can, or if its port is not known."""
    scheme, _, rest = uri.partition("://")
    kind = scheme.partition("+")[0]
    if kind not in PORTS or not rest:
        return ""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "localhost", parts.port or PORTS[kind]
    except ValueError as error:
        return f"{hide_passwords(uri)}: {error}"
    try:
        socket.create_connection((host, port), PROBE_S).close()
    except OSError as error:
        return f"{hide_passwords(uri)} does not answer ({host}:{port}: {error.strerror or error})"
    return ""
