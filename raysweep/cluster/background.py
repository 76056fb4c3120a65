"""Studies of this machine that run without a terminal: started, followed, stopped."""

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
from raysweep.launch_command import launch_command
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.lock import is_held, read_holder

LOG = "driver.log"
LOOK_S = 0.3
STARTS_S = 30.0  # until a detached driver holds its study's lock
STOPS_S = 60.0  # until a driver asked to stop has finished its epochs


def detach(folder: StudyFolder, launch: Path, words: Sequence[str] = ()) -> int:
    """Carry a study on in a process of its own session, its words in the study's LOG; its pid.

    Raises:
        ClusterError: if it ends at once.
    """
    with (folder.path / LOG).open("a", encoding="utf-8") as log:
        driver = subprocess.Popen(
            [sys.executable, str(launch), "resume", "--local", *words, str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a closed terminal takes its own session along, not this one
        )
    deadline = time.monotonic() + STARTS_S
    while not is_held(folder.lock_file) and time.monotonic() < deadline:
        if driver.poll() not in (None, 0):
            words = (folder.path / LOG).read_text(encoding="utf-8").strip().splitlines()
            raise ClusterError(f"the driver ended at once: {words[-1] if words else 'without a word'}")
        time.sleep(LOOK_S)
    return driver.pid


def stop(folder: StudyFolder, *, now: bool, say: Callable[[str], None]) -> None:
    """Stop the driver of a study: in good order, or `now` without finishing running epochs.

    Raises:
        ClusterError: if it does not run here, or does not stop.
    """
    if not is_held(folder.lock_file):
        raise ClusterError(f"{folder.name} does not run")
    holder = read_holder(folder.lock_file)
    if holder is None:
        raise ClusterError(f"{folder.lock_file}: it does not say which process holds {folder.name}")
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
            raise ClusterError(f"{folder.name} (process {pid}) still runs; `stop --now` aborts it")
        time.sleep(LOOK_S)
    say(f"{folder.name} stopped; `{launch_command('resume', folder.path)}` carries it on")


def follow(folder: StudyFolder, write: Callable[[str], None], *, on: bool) -> None:
    """Print a detached study's log; `on`: until its driver ends.

    Raises:
        ClusterError: if it has none.
    """
    try:
        log = (folder.path / LOG).open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise ClusterError(
            f"{folder.name} was not started with --detach, its words went to its terminal; "
            f"`{launch_command('status', folder.path)}` says how far it is"
        ) from None
    with log:
        while True:
            running = is_held(folder.lock_file)
            write(log.read())
            if not on or not running:
                return
            time.sleep(LOOK_S)
