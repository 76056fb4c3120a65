"""Where the store is: addresses that mean one thing, without passwords, and refused in time."""

from __future__ import annotations

import http.server
import re
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

import launch
from raysweep.config import SweepError
from raysweep.tracking import store_of, store_uri, trouble_with
from raysweep.tracking.address import (
    PASSWORD,
    URI,
    USER,
    absolute,
    log_in,
    refuse_file_store,
    sqlite_path,
    sqlite_uri,
    unreachable_database,
)
from raysweep.tracking.cursor import FILE, Cursor
from raysweep.tracking.store import Store, Unreachable
from tests.tracking.conftest import Shelf
from tests.tracking.story import two_trials

ODD = ["sp ace", "üñí", "ha#sh", "que?stion", "per%20cent", "100%", "a+b&c=d"]


@pytest.mark.parametrize("name", ODD)
def test_an_sqlite_files_address_leads_back_to_it(name: str) -> None:
    path = Path("/data") / name / "mlflow.db"
    assert make_url(sqlite_uri(path)).database == str(path)
    assert sqlite_path(sqlite_uri(path)) == path


@pytest.mark.parametrize("name", ODD)
def test_mlflow_keeps_its_runs_in_the_file_that_is_named(tmp_path: Path, name: str, migrated: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy(migrated, folder)
    assert trouble_with(store_uri(None, {}, folder)) == ""
    Store(store_uri(None, {}, folder), "s").experiment("project")
    with sqlite3.connect(folder / "mlflow.db") as store:
        assert ("project",) in store.execute("SELECT name FROM experiments").fetchall()


def test_a_relative_file_is_the_same_from_every_folder(tmp_path: Path) -> None:
    """It is the file below the folder where the study was first run."""
    (tmp_path / "mine.db").touch()
    study = tmp_path / "runs/digits"
    study.mkdir(parents=True)
    first = store_of("sqlite:///mine.db", {}, tmp_path, study)
    assert first == f"sqlite:///{tmp_path}/mine.db"
    Cursor(uri=first).save(study / FILE)
    for configured, environ in (("sqlite:///mine.db", {}), (None, {URI: "sqlite:///mine.db"})):
        assert store_of(configured, environ, Path("/elsewhere"), study) == first
    assert store_of("sqlite:///other.db", {}, Path("/else"), study) == "sqlite:////else/other.db"


@pytest.mark.parametrize(
    "uri", ["sqlite:////data/a.db", "sqlite://", "sqlite:///:memory:", "http://head:5000"]
)
def test_an_address_that_is_absolute_stays(uri: str) -> None:
    assert absolute(uri, Path("/here")) == uri


@pytest.mark.parametrize(
    ("uri", "environ", "user", "password"),
    [
        ("http://ada:p%40ss@head:5000", {}, "ada", "p@ss"),
        ("http://head:5000", {URI: "http://ada:secret@head:5000"}, "ada", "secret"),
        ("http://head:5000", {URI: "http://ada:secret@other:5000"}, None, None),
        ("http://ada:secret@head:5000", {USER: "bob", PASSWORD: "mine"}, "bob", "mine"),
        ("http://head:5000", {}, None, None),
    ],
)
def test_user_and_password_go_where_mlflow_looks_for_them(
    uri: str, environ: dict[str, Any], user: str | None, password: str | None
) -> None:
    assert log_in(uri, environ) == "http://head:5000"
    assert (environ.get(USER), environ.get(PASSWORD)) == (user, password)


@pytest.mark.parametrize(
    "uri", ["file:./mlruns", "file:///data/mlruns", "./mlruns", "/data/mlruns", "mlruns"]
)
def test_a_store_of_plain_files_is_refused_with_what_to_write(uri: str) -> None:
    with pytest.raises(SweepError) as refused:
        refuse_file_store(uri, {})
    assert str(refused.value) == (
        f"MLflow: tracking.uri: {uri}: MLflow no longer keeps runs in plain files; write "
        "sqlite:///mlflow.db (its tool `mlflow migrate-filestore` converts old runs), or set "
        "MLFLOW_ALLOW_FILE_STORE=true"
    )
    refuse_file_store(uri, {"MLFLOW_ALLOW_FILE_STORE": "true"})
    assert "plain files" in trouble_with(uri)


@pytest.mark.parametrize("uri", ["sqlite:///a.db", "http://h", "postgresql+psycopg://h/d", "databricks:x"])
def test_other_stores_are_not(uri: str) -> None:
    refuse_file_store(uri, {})


def test_a_store_of_an_unknown_kind_is_refused() -> None:
    line = "MLflow: tracking.uri: htp://h: MLflow knows no store 'htp'; did you mean 'http'?"
    with pytest.raises(SweepError, match=re.escape(line)):
        refuse_file_store("htp://h", {})
    assert trouble_with("htp://h") == line


def test_a_database_nobody_answers_at_is_one_line_at_once() -> None:
    uri = "postgresql://me:secret@127.0.0.1:9/mlflow"
    line = "postgresql://me:***@127.0.0.1:9/mlflow does not answer (127.0.0.1:9: Connection refused)"
    assert unreachable_database(uri) == trouble_with(uri) == line
    with pytest.raises(Unreachable, match=r"does not answer \(127.0.0.1:9: Connection refused\)"):
        Store(uri, "s")


def test_a_run_into_plain_files_is_refused_before_its_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(
        "study_name: a\ntrials: 4\ntracking: ./mlruns\nbaseline: false\n"
        "run: {data: trainables.data.load_digits, epochs: 2, optimizer_config: {lr: 0.1}, scheduler: null}\n"
        "search_space: {optimizer_config: {lr: {type: float, min: 0.001, max: 1, log: true}}}\n"
    )
    assert launch.main(["run", "a.yaml", "--local"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("MLflow: tracking.uri: ./mlruns: MLflow no ")
    assert not Path("runs").exists()


class Empty(http.server.BaseHTTPRequestHandler):
    """A captive proxy: everything is well, and nothing is said."""

    health = b"OK"

    def do_GET(self) -> None:
        self.send_response(200)
        body = self.health if self.path == "/health" else b""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("health", [b"OK", b""])
def test_empty_answers_are_no_success(
    shelf: Shelf, proxy: str, health: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Empty, "health", health)
    story = two_trials()
    shelf.write(story)
    tracker = shelf.tracker(uri=proxy)
    assert tracker.finish(30) == len(story)
    assert tracker.trouble.startswith(f"{proxy} answers, but not as an MLflow server does: ")


def test_what_was_swallowed_is_sent_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that comes between, says yes to everything, and goes."""
    write, check = Store.write, Store.check_run
    swallowed: list[Any] = []

    def swallow(store: Store, run_id: str, change: object, **words: object) -> None:
        if len(swallowed) < 3:
            swallowed.append(change)
        else:
            write(store, run_id, change, **words)  # type: ignore[arg-type]

    def deny(store: Store, run_id: str) -> None:
        if not denied:
            denied.append(run_id)
            raise Unreachable("answers, but not as an MLflow server does")
        check(store, run_id)

    denied: list[str] = []
    monkeypatch.setattr(Store, "write", swallow)
    monkeypatch.setattr(Store, "check_run", deny)
    shelf.write(two_trials())
    assert shelf.tracker().finish(60) == 0
    assert len(denied) == 1
    monkeypatch.undo()
    assert shelf.history("00000", "val_loss")
