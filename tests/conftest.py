"""What the tests of all packages share."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.sound_sweep import read as read
from tests.sound_sweep import read_text as read_text

# Two cores and many small tests: threads of one numeric library would only wait for each other's.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray reads its token once a process: all Rays of all tests must find the same, and none in a home folder.
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
# A busy machine is no fault of the code: no test asserts a time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files that start a Ray first: few and long, their tests would leave one core idle at the end."""
    long = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True)
def _no_store_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into an MLflow store that a person looks at."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")


@pytest.fixture(autouse=True, scope="session")
def _no_state_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests make is trusted among them, and leaves no mark in a home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield
