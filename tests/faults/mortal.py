"""A driver that is to die: `launch.py` that SIGKILLs itself around an event of its journal.

    python -m tests.faults.mortal KIND NTH WHEN resume STUDY

KIND  an event, NTH of its kind in this process: reported 3, promoted 1
WHEN  `before` the event is written, `torn` with half of its line on the disk, `after` it, or `soon`: some
      milliseconds later, wherever the driver is by then, but never after it has closed the journal

From outside a signal can only be sent some time after the journal was seen to grow, and on a busy machine
the driver has ended by then.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time

import launch
from raysweep.study.journal.events import AttemptEnded, Event
from raysweep.study.journal.log import Journal

WHENS = ("before", "torn", "after", "soon")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal is on its way: not one instruction more


def die_soon() -> None:
    threading.Timer(random.uniform(0.0, 0.05), die).start()


def doom(kind: str, nth: int, when: str) -> None:
    """Let the journal's NTH event of a kind be the driver's last."""
    append, seen = Journal.append, 0

    def fatal(journal: Journal, event: Event) -> None:
        nonlocal seen
        if isinstance(event, AttemptEnded) and seen >= nth:
            die()
        seen += event.kind == kind and not getattr(event, "again", False)
        if seen != nth or event.kind != kind:
            append(journal, event)
            return
        if when == "before":
            die()
        if when == "torn":
            Journal._write = half  # type: ignore[assignment, method-assign]
        append(journal, event)
        if when == "after":
            die()
        die_soon()

    def half(journal: Journal, line: bytes) -> None:
        os.write(journal._fd, line[: len(line) // 2])
        die()

    Journal.append = fatal  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    doom(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    sys.argv = ["launch.py", *sys.argv[4:]]
    sys.exit(launch.main(sys.argv[1:]))
