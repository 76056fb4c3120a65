"""Fixtures of the trainer's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a trial's process: bit-equal results need the same number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _own_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that a test makes importable are forgotten after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def cuda() -> Any:
    """A CUDA device; a missing one is the only reason for which a test of this project is skipped."""
    if not torch.cuda.is_available():
        pytest.skip(f"no CUDA device here (torch {torch.__version__})")
    return torch.device("cuda:0")
