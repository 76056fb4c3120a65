"""Tracking in a process of its own: real processes, a real store, a real journal."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from raysweep.study.journal.log import Journal
from raysweep.tracking import TrackingProcess, cursor
from raysweep.tracking.loop import LOCK, is_readable
from tests.tracking.conftest import Shelf, eventually
from tests.tracking.story import two_trials


@pytest.fixture
def journal(shelf: Shelf) -> Journal:
    return Journal(shelf.folder / "journal", "digits")


def test_a_driver_with_more_than_a_thousand_open_files_reads_the_answer() -> None:
    """`select` fails there: the process was killed at its start, and MLflow lacked every event."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2048)), hard))
    reading, writing = os.pipe()
    high = fcntl.fcntl(reading, fcntl.F_DUPFD, 1500)
    try:
        assert not is_readable(high, 0)
        os.write(writing, b"x")
        assert is_readable(high, 0)
    finally:
        for descriptor in (reading, writing, high):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_is_written_to_the_journal_arrives_while_the_sweep_runs(shelf: Shelf, journal: Journal) -> None:
    tracking = TrackingProcess(shelf.folder, shelf.facts, uri=shelf.uri)
    tracking.start()
    story = two_trials()
    for event in story[:-1]:
        journal.append(event)
    eventually(lambda: cursor.load(shelf.folder / cursor.FILE)[0].sent == len(story) - 1)
    assert shelf.runs()["00000"].info.status == "FINISHED"
    assert shelf.runs()[""].info.status == "RUNNING"
    journal.append(story[-1])
    assert tracking.close() == 0, tracking.trouble
    assert {run.info.status for run in shelf.runs().values()} == {"FINISHED"}
    assert "/runs?workflowType=machine_learning" in tracking.link


def test_without_its_driver_the_process_sends_the_journal_and_ends(shelf: Shelf, journal: Journal) -> None:
    tracking = TrackingProcess(shelf.folder, shelf.facts, uri=shelf.uri)
    tracking.start()
    story = two_trials()
    for event in story[:5]:
        journal.append(event)
    child = tracking._child
    assert child is not None
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()  # what the kernel does for a killed driver
    assert child.stdout.read() == ""
    assert child.wait(60) == 0
    child.stdout.close()
    assert cursor.load(shelf.folder / cursor.FILE)[0].sent == 5
    for event in story[5:]:
        journal.append(event)
    second = TrackingProcess(shelf.folder, shelf.facts, uri=shelf.uri)
    second.start()
    assert second.close() == 0, second.trouble
    assert {run.info.status for run in shelf.runs().values()} == {"FINISHED"}


def test_what_a_killed_process_did_not_send_is_sent_by_the_next(shelf: Shelf, journal: Journal) -> None:
    tracking = TrackingProcess(shelf.folder, shelf.facts, uri=shelf.uri)
    tracking.start()
    story = two_trials()
    for event in story:
        journal.append(event)
    assert tracking._child is not None
    tracking._child.send_signal(signal.SIGKILL)
    tracking._child.wait(60)
    assert tracking.close() == len(story)
    assert tracking.trouble == f"the tracking process failed, see {shelf.folder / 'tracking.log'}"
    second = TrackingProcess(shelf.folder, shelf.facts, uri=shelf.uri)
    second.start()
    assert second.close() == 0, second.trouble
    assert set(shelf.runs()) == {"", "00000", "00001"}
    assert (shelf.folder / LOCK).exists()


def test_a_store_that_is_away_does_not_hold_up_the_driver(shelf: Shelf, journal: Journal) -> None:
    tracking = TrackingProcess(shelf.folder, shelf.facts, uri="http://127.0.0.1:9")
    tracking.start()
    story = two_trials()
    for event in story:
        journal.append(event)
    assert tracking.close() == len(story)
    assert tracking.link == ""
    assert "127.0.0.1:9" in tracking.trouble


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_store_that_never_answers_is_given_up_in_time(
    shelf: Shelf, journal: Journal, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is within a call to the store, and cannot say so itself."""
    monkeypatch.setattr("raysweep.tracking.process.GRACE_S", 0.5)
    story = two_trials()
    for event in story:
        journal.append(event)
    tracking = TrackingProcess(shelf.folder, shelf.facts, uri=silent)
    tracking.start()
    assert tracking.close(0.5) == len(story)
    assert tracking.trouble == f"{silent} has not answered for 1 s"
    assert tracking._child is not None
    assert tracking._child.returncode == -signal.SIGKILL


def test_a_process_that_hangs_without_a_driver_ends_and_logs_where(
    shelf: Shelf, journal: Journal, silent: str
) -> None:
    command = "import raysweep.tracking.loop as loop; loop.HANG_S = 1.0; loop.main()"
    child = subprocess.run(
        [sys.executable, "-c", command, str(shelf.folder)],
        input=json.dumps({"facts": asdict(shelf.facts), "uri": silent}) + "\n",
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (child.returncode, child.stdout) == (1, "")
    assert "in check_health" in child.stderr
