"""Whole commands as processes of their own, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.study.events import Event, Reported
from service.study.journal import read_events
from service.study.record import StudyRecord, fold

ROOT = Path(__file__).parents[2]


def start(folder: Path, *words: str, **environment: str) -> subprocess.Popen[bytes]:
    """`launch.py WORDS` in `folder`, where its words go to `log`."""
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "launch.py"), *words],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )


def said(folder: Path) -> str:
    """What the commands started in `folder` printed."""
    return (folder / "log").read_text(encoding="utf-8", errors="replace")


def events(study: Path) -> list[Event]:
    return list(read_events(study / "journal"))


def record(study: Path) -> StudyRecord:
    return fold(events(study))


def reports(study: Path) -> list[Reported]:
    """Every epoch that counted, in the order of the journal."""
    return [event for event in events(study) if isinstance(event, Reported) and not event.again]


def history(study: Path) -> list[tuple[str, int, int, str, str]]:
    return sorted((e.trial, e.epoch, e.generation, repr(e.loss), e.decision) for e in reports(study))


def curves(study: Path) -> list[tuple[str, int, str]]:
    """As `history`, without who was stopped for whose sake: with more slots than one that may differ."""
    return sorted((e.trial, e.epoch, repr(e.loss)) for e in reports(study))


def wait_until(holds: Callable[[], Any], process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until it holds, while the process runs."""
    deadline = time.monotonic() + 240
    while not holds():
        assert process.poll() is None, said(folder)
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(said(folder))
        time.sleep(0.01)


def after_epochs(count: int, process: subprocess.Popen[bytes], folder: Path, study: Path) -> None:
    """Wait until the journal has so many epochs."""
    wait_until(lambda: len(reports(study)) >= count, process, folder)


def kill_after(process: subprocess.Popen[bytes], folder: Path, name: str, epochs: int) -> None:
    """SIGKILL the driver once its journal has so many epochs."""
    after_epochs(epochs, process, folder, folder / "runs" / name)
    process.send_signal(signal.SIGKILL)
    process.wait()
