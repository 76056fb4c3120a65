"""A journal that the disk refuses, or that vanishes while the study runs, ends the attempt in one line."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from raysweep.errors import ExitCode
from schedulers.fifo import FIFORule
from tests.builders import small_sweep
from tests.study.slot import Slot


def io_error(_: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    patch.setattr(os, "fsync", refuse)


def deleted(study: Path, _: pytest.MonkeyPatch) -> None:
    shutil.rmtree(study)


def moved(study: Path, _: pytest.MonkeyPatch) -> None:
    study.rename(study.with_name("elsewhere"))


GONE = "it was deleted, moved or replaced while the study ran"
CASES = [(io_error, "Input/output error"), (deleted, GONE), (moved, GONE)]


@pytest.mark.parametrize("every_s", [0.0, 60.0], ids=["noticed by a look", "noticed at the end"])
@pytest.mark.parametrize(("fault", "message"), CASES)
def test_a_lost_journal_is_no_success_and_no_traceback(
    tmp_path: Path,
    fault: Callable[[Path, pytest.MonkeyPatch], None],
    message: str,
    every_s: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slot = Slot(tmp_path / "small", small_sweep(), FIFORule(max_resource=6))
    playing = slot.run()
    next(playing)
    monkeypatch.setattr("raysweep.study.journal.log.SYNC_EVERY_S", every_s)
    fault(tmp_path / "small", monkeypatch)
    slot.controller.check_limits()
    assert bool(slot.controller.bus.broken) == (every_s == 0)
    finish = slot.controller.close()
    path = tmp_path / "small/journal/000001.jsonl"
    assert finish.exit_code == ExitCode.INTERRUPTED
    assert finish.reason == f"the journal {path} cannot be written: {message}"
