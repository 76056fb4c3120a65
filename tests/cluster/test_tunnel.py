"""The tunnel to a cluster's head, with another command instead of SSH: it opens, or says why not."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from raysweep.cluster import tunnel as module
from raysweep.cluster.errors import ClusterError
from raysweep.cluster.tunnel import free_port, is_open, tunnel, why_not_open

LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); s.accept()"


def stand_in(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Run `program` instead of SSH, with the local port as its argument."""
    monkeypatch.setattr(
        module, "forward_command", lambda _file, _remote, port: [sys.executable, "-c", program, str(port)]
    )


def test_a_head_that_refuses_is_one_line_with_the_last_message_of_ssh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in(monkeypatch, "raise SystemExit('banner\\nssh: connect to host h port 22: No route to host')")
    with pytest.raises(ClusterError) as raised, tunnel(Path("c.yaml"), 8265):
        pytest.fail("there is no tunnel")
    assert str(raised.value) == (
        "c.yaml: the SSH tunnel ended (ssh: connect to host h port 22: No route to host); "
        "is the cluster up (`ray up c.yaml`), and does `ray attach` connect?"
    )


def test_an_error_in_the_block_is_raised_although_ssh_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A laptop that loses its network: ssh gives up first, and its process group has ended with the block."""
    stand_in(monkeypatch, LISTEN)
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def keep(*args: object, **kwargs: object) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **kwargs))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(module.subprocess, "Popen", keep)  # type: ignore[attr-defined]

    def follow() -> None:
        with tunnel(Path("c.yaml"), 8265):
            started[0].wait()
            raise ClusterError("the connection was lost")

    with pytest.raises(ClusterError, match="the connection was lost"):
        follow()


def test_a_tunnel_is_closed_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, f"{LISTEN}; time.sleep(60)")
    with tunnel(Path("c.yaml"), 8265) as port:
        assert is_open(port)
    assert not is_open(port)


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())):
        pass


LOG = "2026-11-29 11:16:11,174\tINFO commands.py:422 -- Checking Local environment settings"
FAILED = (
    "Error: Failed to forward dashboard from remote port 8265 to local port 7001. There are a couple of: \n"
    " 1. The remote port is incorrectly specified \n 2. The local port 7001 is already in use.\n"
    " The exception is: "
)


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ("", "no output from ssh"),
        (LOG, "no output from ssh"),
        (
            f"ssh: connect to host h port 22: No route to host\n{LOG}\n{FAILED}Command failed:\n\n  ssh h",
            "ssh: connect to host h port 22: No route to host",
        ),
        (f"root@h: Permission denied (publickey).\n{LOG}", "root@h: Permission denied (publickey)."),
        (f"{FAILED}Head node of cluster (a) not found!\n{LOG}", "Head node of cluster (a) not found!"),
        (
            f"{LOG}\nModuleNotFoundError: No module named 'boto3'",
            "ModuleNotFoundError: No module named 'boto3'",
        ),
    ],
)
def test_the_reason_for_no_tunnel_comes_from_ssh_or_rays_exception(printed: str, why: str) -> None:
    """Ray's own log lines come last, because stderr and stdout are the same file."""
    assert why_not_open(printed) == why
