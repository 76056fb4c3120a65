"""Starts, follows and stops studies that run on this machine without a terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from raysweep.cluster.errors import ClusterError
from raysweep.errors import RaysweepError
from raysweep.launch_command import launch_command
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.lock import is_held, read_holder

LOG = "driver.log"
LOOK_S = 0.3
STARTS_S = 30.0  # for a detached driver to take its study's lock
STOPS_S = 60.0  # for a driver to finish its running epochs after a stop


def detach(folder: StudyFolder, launch: Path, options: Sequence[str] = ()) -> int:
    """Resume a study in a process with its own session, its output in the study's LOG; returns its pid.

    Args:
        folder: of the study.
        launch: launch.py of the clone.
        options: further options of `resume`.

    Raises:
        ClusterError: if it ends immediately.
    """
    with (folder.path / LOG).open("a", encoding="utf-8") as log:
        driver = subprocess.Popen(
            [sys.executable, str(launch), "resume", "--local", *options, str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # closing the terminal ends its own session only
        )
    deadline = time.monotonic() + STARTS_S
    while not is_held(folder.lock_file) and time.monotonic() < deadline:
        if driver.poll() not in (None, 0):
            lines = (folder.path / LOG).read_text(encoding="utf-8").strip().splitlines()
            raise ClusterError(f"the driver ended immediately: {lines[-1] if lines else 'no output'}")
        time.sleep(LOOK_S)
    return driver.pid


def stop(folder: StudyFolder, *, now: bool, say: Callable[[str], None]) -> None:
    """Stop the driver of a study: gracefully, or `now` without finishing running epochs.

    Raises:
        RaysweepError: if it does not run.
        ClusterError: if it runs on another machine, or does not stop.
    """
    if not is_held(folder.lock_file):
        raise RaysweepError(f"{folder.name} is not running")
    holder = read_holder(folder.lock_file)
    if holder is None:
        raise ClusterError(f"{folder.lock_file} does not say which process runs {folder.name}")
    if holder.host != socket.gethostname():
        raise ClusterError(f"{folder.name} runs on {holder.host}: stop it there")
    pid = holder.pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        if now:
            time.sleep(LOOK_S)
            os.kill(pid, signal.SIGTERM)  # the second one aborts
    deadline = time.monotonic() + STOPS_S
    while is_held(folder.lock_file):
        if time.monotonic() > deadline:
            raise ClusterError(f"{folder.name} (process {pid}) is still running; `stop --now` aborts it")
        time.sleep(LOOK_S)
    say(f"{folder.name} stopped; `{launch_command('resume', folder.path)}` continues it")


def follow(folder: StudyFolder, write: Callable[[str], None], *, on: bool) -> None:
    """Print a detached study's log; with `on`, until its driver ends.

    Raises:
        RaysweepError: if it has none.
    """
    try:
        log = (folder.path / LOG).open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise RaysweepError(
            f"{folder.name} was not started with --detach, so its output went to its terminal; "
            f"`{launch_command('status', folder.path)}` shows its progress"
        ) from None
    with log:
        while True:
            running = is_held(folder.lock_file)
            write(log.read())
            if not on or not running:
                return
            time.sleep(LOOK_S)
