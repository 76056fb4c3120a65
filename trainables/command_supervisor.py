"""Runs one command, and ends it with all its children once standard input is closed.

A program of its own: `python -I command_supervisor.py GRACE_S SCRATCH COMMAND...`. Its standard input is a
pipe from the trial's process, which is closed when that process stops the command or dies, even by SIGKILL,
so that a command never outlives its trial. The command's process group gets SIGTERM, and SIGKILL after
GRACE_S seconds. Uses the standard library only, so that it starts in a few milliseconds.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

POLL_S = 0.02
NOT_FOUND = 127
"""Exit code of a shell for a command that cannot be started."""


def main(grace_s: float, scratch: str, command: list[str]) -> int:
    """Run the command; returns its exit code, or 128 plus the number of the signal that ended it."""
    parent = os.getppid()
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", flush=True)
        return NOT_FOUND

    def end_when_closed() -> None:
        os.read(0, 1)
        end_group(child.pid, grace_s)

    threading.Thread(target=end_when_closed, daemon=True).start()
    code = child.wait()
    end_group(child.pid, grace_s)  # children that it has left running
    if os.getppid() != parent:
        shutil.rmtree(scratch, ignore_errors=True)  # the trial's process, which would do so, is gone
    return code if code >= 0 else 128 - code


def end_group(group: int, grace_s: float) -> None:
    """Send SIGTERM to a process group, and SIGKILL to what is left of it after `grace_s`."""
    until = time.monotonic() + grace_s
    alive = send(group, signal.SIGTERM)
    while alive and time.monotonic() < until:
        time.sleep(POLL_S)
        alive = send(group, 0)
    if alive:
        send(group, signal.SIGKILL)


def send(group: int, number: int) -> bool:
    """Send a signal to a process group; False if it is gone."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # the latter on macOS, if only zombies are left
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2], sys.argv[3:]))
