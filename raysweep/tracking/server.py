"""Runs an MLflow server on a cluster's head, and restarts it if it dies.

    python -m raysweep.tracking.server FOLDER [--port 5000]

`mlflow server` is several processes, which are started and ended as a group. A server that dies or does not
answer is restarted. It listens on this machine only. Runs are kept in FOLDER/mlflow.db, artifacts in
FOLDER/artifacts and served by the server, so that clients need no access to the folder.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import IO

START_S = 120.0  # for four processes to import mlflow, on a busy head
CHECK_S = 10.0
MAX_UNANSWERED = 3  # after so many health checks in a row it hangs
END_S = 10.0


def command(folder: Path, port: int) -> list[str]:
    """The server's command line; it listens on 127.0.0.1, for tunnels and the head itself."""
    names = ("localhost", "127.0.0.1", socket.gethostname())
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"),
        *("--allowed-hosts", ",".join(f"{name}:*" for name in names)),
    ]


def is_healthy(port: int) -> bool:
    """Whether a server on this machine answers its health check."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5.0) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


class Server:
    """One `mlflow server` at a time.

    Args:
        folder: for the database and the artifacts.
        port: to listen on.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._group: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server's processes as a group."""
        environment = {
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 2 GB of idle workers
            "PYTHONSAFEPATH": "1",  # modules of the working directory are not MLflow's
        }
        self._group = subprocess.Popen(
            command(self.folder, self.port), stdin=subprocess.DEVNULL, env=environment, start_new_session=True
        )

    def end(self) -> None:
        """End all processes of the group, since some outlive the first."""
        if self._group is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._group.pid, number)
            except ProcessLookupError:
                break
            deadline = time.monotonic() + END_S
            while self._group.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
        self._group.wait()

    def keep(self) -> None:
        """Start the server, and restart it whenever it dies or does not answer; never returns."""
        while True:
            self.start()
            started, unanswered = time.monotonic(), 0
            while unanswered < MAX_UNANSWERED and self._group is not None and self._group.poll() is None:
                time.sleep(CHECK_S)
                in_order = is_healthy(self.port) or time.monotonic() - started < START_S
                unanswered = 0 if in_order else unanswered + 1
            print("mlflow server died or does not answer: restarting it", file=sys.stderr, flush=True)
            self.end()


def lock_port(port: int) -> IO[bytes] | None:
    """Take the lock for this user's server on a port; None if another process holds it.

    It is held until the file is closed, or its process has ended.
    """
    file = (Path(tempfile.gettempdir()) / f"raysweep-mlflow-{os.getuid()}-{port}.lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def main() -> None:
    """Run a server until a signal ends it; return at once if one answers or is being started already."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for the database and the artifacts")
    parser.add_argument("--port", type=int, default=5000)
    args = parser.parse_args()
    port_lock = lock_port(args.port)
    if port_lock is None or is_healthy(args.port):
        return
    folder = args.folder.expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(folder, args.port)

    def leave(number: int, _frame: FrameType | None) -> None:
        server.end()
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    server.keep()


if __name__ == "__main__":
    main()
