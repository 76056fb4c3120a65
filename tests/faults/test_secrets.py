"""A password in an address is used, and written nowhere."""

from __future__ import annotations

import base64
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.driver import ended, said, start
from tests.faults.sweeps import write_sweep

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
SECRET = "hunter2-and-more"


class Guarded(http.server.BaseHTTPRequestHandler):
    """Asks for user and password, and then has nothing to say."""

    seen: set[str]

    def answer(self) -> None:
        self.seen.add(self.headers.get("Authorization", ""))
        self.send_response(200 if self.path == "/health" else 401)
        body = b"OK" if self.path == "/health" else b"<html>who are you?</html>"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, set[str]]]:
    Guarded.seen = set()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", Guarded.seen
        server.shutdown()


def holders(folder: Path) -> list[Path]:
    """The files below a folder that hold the password."""
    return [
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]


@pytest.mark.parametrize("where", ["file", "option", "environment"])
def test_a_password_is_sent_to_mlflow_and_stands_nowhere(
    tmp_path: Path, where: str, server: tuple[str, set[str]]
) -> None:
    host, seen = server
    address = f"http://ada:{SECRET}@{host}"
    words = {"tracking": {"uri": address}} if where == "file" else {}
    database = f"postgresql+psycopg://me:{SECRET}@127.0.0.1:9/optuna"
    sweep = write_sweep(tmp_path, "told", epochs=2, optuna_storage=database, **words)
    options = ["--set", f"tracking.uri={address}"] if where == "option" else []
    store = address if where == "environment" else "http://127.0.0.1:9"
    for arguments in (["run", sweep.name, *options], ["resume", "told"]):
        assert ended(start(tmp_path, *arguments, store=store), tmp_path) == 0, said(tmp_path)
    sweep.unlink()  # the user's own
    assert holders(tmp_path) == []
    assert os.environ.get("MLFLOW_TRACKING_PASSWORD") is None
    basic = "Basic " + base64.b64encode(f"ada:{SECRET}".encode()).decode()
    assert basic in seen


def test_a_token_is_sent_to_mlflow_and_stands_nowhere(
    tmp_path: Path, server: tuple[str, set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, seen = server
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    write_sweep(tmp_path, "told", epochs=2)
    assert ended(start(tmp_path, "run", "told.yaml", store=f"http://{host}"), tmp_path) == 0, said(tmp_path)
    assert f"Bearer {SECRET}" in seen
    assert holders(tmp_path) == []
