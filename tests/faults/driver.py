"""Whole commands as processes of their own, and what they leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from raysweep.study.journal.events import EpochReported, Event, TrialExploited
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import StudyRecord, fold

ROOT = Path(__file__).parents[2]
NOBODY_LISTENS = "http://127.0.0.1:9"
STILL_S = 240.0  # a command that neither prints nor reports for so long hangs, however busy the machine is
LAUNCH = (str(ROOT / "launch.py"),)


def start(
    folder: Path, *words: str, program: Sequence[str] = LAUNCH, store: str = NOBODY_LISTENS
) -> subprocess.Popen[bytes]:
    """`launch.py WORDS` in `folder`, where its words go to `log`.

    Args:
        folder: where.
        words: the command's.
        program: what Python runs in its place.
        store: MLflow's address; by default a server that is away, which spares the import of mlflow.
    """
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": store,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *program, *words],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )


def store_of(folder: Path) -> str:
    """A real MLflow store in a folder."""
    return f"sqlite:///{folder}/mlflow.db"


def said(folder: Path) -> str:
    """What the commands started in `folder` printed."""
    return (folder / "log").read_text(encoding="utf-8", errors="replace")


def events(study: Path) -> list[Event]:
    """What a study's journal has; nothing before there is one."""
    return list(read_events(study / "journal")) if study.exists() else []


def record(study: Path) -> StudyRecord:
    return fold(events(study))


def reports(study: Path) -> list[EpochReported]:
    """Every epoch that counted, in the order of the journal."""
    return [event for event in events(study) if isinstance(event, EpochReported) and not event.again]


def history(study: Path) -> list[tuple[str, int, int, str, str]]:
    return sorted((e.trial, e.epoch, e.generation, repr(e.loss), e.decision) for e in reports(study))


def curves(study: Path) -> list[tuple[str, int, str]]:
    """As `history`, without who was stopped for whose sake: with more slots than one that may differ."""
    return sorted((e.trial, e.epoch, repr(e.loss)) for e in reports(study))


def copies(study: Path) -> list[tuple[str, int, int, str, str]]:
    """Of a population, who copied whom when, and the settings that came of it."""
    copied = [event for event in events(study) if isinstance(event, TrialExploited)]
    return sorted((e.trial, e.epoch, e.generation, e.donor, repr(e.config)) for e in copied)


def ended(process: subprocess.Popen[bytes], folder: Path) -> int:
    """A command's exit code; it is waited for as long as it prints or a journal grows."""
    wait_until(lambda: process.poll() is not None, process, folder)
    return process.wait()


def wait_until(holds: Callable[[], Any], process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until it holds, as long as the process gets anywhere."""
    last, since = -1, time.monotonic()
    while not holds():
        assert process.poll() is None or holds(), said(folder)
        written = _written(folder)
        if written != last:
            last, since = written, time.monotonic()
        if time.monotonic() - since > STILL_S:
            process.kill()
            process.wait()
            raise AssertionError(f"nothing happened for {STILL_S:g} s\n{said(folder)}")
        time.sleep(0.02)


def _written(folder: Path) -> int:
    """Bytes of all that the commands in a folder printed and reported."""
    files = [folder / "log", *folder.glob("runs/*/journal/*.jsonl"), *folder.glob("*/*/journal/*.jsonl")]
    return sum(file.stat().st_size for file in files if file.exists())


def after_epochs(count: int, process: subprocess.Popen[bytes], folder: Path, study: Path) -> None:
    """Wait until the journal has so many epochs."""
    wait_until(lambda: len(reports(study)) >= count, process, folder)
