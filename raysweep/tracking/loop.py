"""The tracking process: a loop that follows a study's journal and keeps MLflow up to date.

    python -m raysweep.tracking STUDY_FOLDER

Its input is two lines of JSON from the driver: the sweep's facts at the start, and how to finish at the end.
If its input ends before the second, the driver was killed. Its output is lines of JSON, too: the number of
events left while it finishes, then the result. Decision 0004 says why it is a process.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import select
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from raysweep.study.storage.lock import StudyBusy, lock
from raysweep.tracking.parent_run import FinalState
from raysweep.tracking.runs import SweepFacts
from raysweep.tracking.store import Refused, Store, Unreachable
from raysweep.tracking.tracker import Tracker

LOCK = "tracking.lock"
NICENESS = 19  # the cores are the trials', whose processes Ray runs at 15
LOCK_POLL_S = 0.5
PROGRESS_S = 2.0  # between two lines with the number of events left
FINISH_S = 20.0  # the longest time without progress after the study's end
HANG_S = 600.0  # more than all calls of a connection take, at the client's limit of a minute each


def main() -> None:
    """Track a study until told to finish, or until the driver is gone."""
    os.nice(NICENESS)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent also to the children of a stopped Ray job
    restart_watchdog()
    folder = Path(sys.argv[1])
    # Unbuffered, since `poll` does not see what is in a buffer.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as orders, ExitStack() as stack:
        fields = json.loads(orders.readline())
        facts = SweepFacts.from_fields(fields["facts"])
        wait_for_lock(folder / LOCK, stack)
        warm_up(facts.experiment, fields["uri"])
        track(folder, facts, fields["uri"], orders)


def wait_for_lock(path: Path, stack: ExitStack) -> None:
    """Hold a lock until `stack` is closed; waits while the process of a killed driver finishes.

    Raises:
        StudyBusy: if the lock is held for longer than a process without a driver can live.
    """
    deadline = time.monotonic() + HANG_S
    while True:
        try:
            stack.enter_context(lock(path, "tracking"))
        except StudyBusy:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOCK_POLL_S)
        else:
            restart_watchdog()
            return


def track(folder: Path, facts: SweepFacts, uri: str, orders: io.FileIO) -> None:
    """Follow the journal until the order to finish arrives, then finish and print the result."""
    finishing, printed_at = False, 0.0

    def on_progress(left: int) -> None:
        nonlocal printed_at
        restart_watchdog()
        if finishing and time.monotonic() - printed_at >= PROGRESS_S:
            printed_at = time.monotonic()
            print(json.dumps({"left": left}), flush=True)

    tracker, pause_s = Tracker(folder, facts, uri=uri, on_progress=on_progress), 0.0
    while not is_readable(orders.fileno(), pause_s):
        pause_s = tracker.advance()
        restart_watchdog()
    order = orders.readline()
    if not order:  # the driver was killed
        tracker.finish(FINISH_S, FinalState(time.time(), {"state": "interrupted"}))
        return
    finishing, fields = True, json.loads(order)
    state = fields["final_state"]
    unsent = tracker.finish(fields["timeout_s"], None if state is None else FinalState(**state))
    result = {"unsent": unsent, "link": tracker.link, "trouble": tracker.trouble, "refused": tracker.refused}
    print(json.dumps(result), flush=True)


def warm_up(experiment: str, uri: str) -> None:
    """Import mlflow and create the store's tables while the driver imports and Ray starts."""
    with contextlib.suppress(Unreachable, Refused):  # the tracker will get the same error and report it
        Store(uri, study_id="").experiment(experiment)


def restart_watchdog() -> None:
    """End this process, with its stack in the log, unless this is called again within `HANG_S` seconds.

    A call to a store may hang forever; the process must not outlive its driver then, or keep the lock.
    """
    faulthandler.dump_traceback_later(HANG_S, exit=True)


def is_readable(descriptor: int, timeout_s: float) -> bool:
    """Wait until a descriptor is readable; by poll, since select fails for the 1,025th descriptor."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(1000 * timeout_s))
