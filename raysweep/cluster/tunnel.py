"""Opens SSH tunnels to ports of a cluster's head with Ray's own command."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raysweep.cluster.errors import ClusterError

OPEN_S = 60.0  # for SSH to a distant head over a slow connection
LOOK_S = 0.1
_OF_RAY = re.compile(r"\d{4}-\d\d-\d\d [\d:,.]+\s+V*(INFO|WARNING)|Error: Failed to forward| ?[12]\. The ")
_OF_SSH = re.compile(
    r"ssh: |bind |.*(Permission denied|verification failed|Connection (closed|reset|refused))"
)
_EXCEPTION = "The exception is: "


@contextmanager
def tunnel(cluster_file: Path, remote_port: int, local_port: int | None = None) -> Iterator[int]:
    """Forward a local port to the head for the length of a `with` block.

    Args:
        cluster_file: the file that `ray up` was given.
        remote_port: on the head, bound to its 127.0.0.1.
        local_port: None for a free one.

    Yields:
        The local port.

    Raises:
        ClusterError: if it does not open, with SSH's last message.
    """
    port = free_port() if local_port is None else local_port
    command = forward_command(cluster_file, remote_port, port)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_until_open(process, port, cluster_file, log.fileno())
            yield port
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has already ended, and ssh with it
                os.killpg(process.pid, signal.SIGTERM)  # ssh is in its session too
            process.wait()


def forward_command(cluster_file: Path, remote_port: int, local_port: int) -> list[str]:
    """Ray's own command that opens the tunnel and keeps it open."""
    command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "dashboard", "--no-config-cache"]
    return [*command, "-p", str(local_port), "--remote-port", str(remote_port), str(cluster_file)]


def free_port() -> int:
    """An unused port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    """Whether a process listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_open(process: subprocess.Popen[bytes], port: int, cluster_file: Path, log: int) -> None:
    deadline = time.monotonic() + OPEN_S
    while not is_open(port):
        ended = process.poll() is not None
        if ended or time.monotonic() > deadline:
            reason = why_not_open(os.pread(log, 100_000, 0).decode("utf-8", "replace"))
            what = "the SSH tunnel ended" if ended else f"no SSH tunnel within {OPEN_S:g} s"
            raise ClusterError(
                f"{cluster_file}: {what} ({reason}); is the cluster up (`ray up {cluster_file}`), "
                "and does `ray attach` connect?"
            )
        time.sleep(LOOK_S)


def why_not_open(text: str) -> str:
    """The line in the output of Ray's command that says why there is no tunnel: ssh's, else Ray's.

    >>> why_not_open("ssh: connect to host a port 22: No route to host")
    'ssh: connect to host a port 22: No route to host'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if from_ssh := [line for line in lines if _OF_SSH.match(line)]:
        return from_ssh[-1]
    raised = [line.removeprefix(_EXCEPTION) for line in lines if line.startswith(_EXCEPTION)]
    own = [line for line in lines if not _OF_RAY.match(line)]
    return (raised or own or ["no output from ssh"])[-1]
