"""Who may start a head's MLflow server: one process, however often `ray up` is called."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from raysweep.tracking import server
from raysweep.tracking.server import lock_port


@pytest.fixture(autouse=True)
def _own_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_port_has_one_keeper_until_that_one_is_gone() -> None:
    first = lock_port(5000)
    assert first is not None
    assert lock_port(5000) is None
    first.close()
    again = lock_port(5000)
    assert again is not None
    again.close()


def test_a_second_keeper_leaves_while_the_first_one_still_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server takes a minute to answer, and a second one would find its port taken forever."""
    first = lock_port(5000)
    monkeypatch.setattr(server, "is_healthy", lambda _: False)
    monkeypatch.setattr(server.Server, "keep", lambda _: pytest.fail("a second server was started"))
    monkeypatch.setattr("sys.argv", ["server", "/nowhere"])
    server.main()
    assert first is not None
    first.close()
