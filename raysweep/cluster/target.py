"""Decides where a command runs: on this machine, on a running Ray, or on a cluster through its Job API."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.nodes import read_cluster_file

CLUSTER_FILE = "cluster.yaml"
HEAD_S = 20.0  # for a cloud to answer whether the head is up


@dataclass(frozen=True, slots=True)
class Target:
    """Where a command runs, and why.

    Attributes:
        kind: `here` an embedded Ray, `ray` a Ray that this machine is a node of, `jobs` a Job API at a URL,
            `cluster` the cluster of a file, whose Job API is behind an SSH tunnel.
        where: "", a Ray address, a URL, or the file's path.
        why: for the first line that a command prints.
        include: files that are sent with a job although they look like secrets, or git ignores them.
        down: whether to end the cluster after its last sweep.
    """

    kind: Literal["here", "ray", "jobs", "cluster"]
    where: str
    why: str
    include: tuple[str, ...] = ()
    down: bool = False

    @property
    def far(self) -> bool:
        """Whether a job on another machine runs the command."""
        return self.kind in ("jobs", "cluster")

    def __str__(self) -> str:
        location = {
            "here": "on this machine",
            "ray": f"on the Ray at {self.where}",
            "jobs": f"as a job at {self.where}",
            "cluster": f"as a job on the cluster of {self.where}",
        }[self.kind]
        return f"{location} ({self.why})"


def resolve_target(
    local: bool,
    address: str | None,
    cluster: Path | None,
    include: tuple[str, ...] = (),
    down: bool = False,
) -> Target:
    """The target of this process's command, see `choose`, with what to send and whether to end the cluster.

    Raises:
        ClusterError: if options contradict each other, or `--down` is given without a cluster to end.
    """
    environ, folder = os.environ, Path.cwd()
    target = choose(
        local=local, address=address, cluster=cluster, environ=environ, folder=folder, head_of=head_of
    )
    if down and target.kind != "cluster":
        raise ClusterError(f"--down ends the cluster of a file, but this runs {target}")
    return replace(target, include=include, down=down)


def head_of(file: Path) -> str | None:
    """Address of the head of a file's running cluster; None if none runs or it is unknown.

    A cloud is asked only if its credentials are here, so that a newcomer's first run is not delayed.
    """
    kind = read_cluster_file(file)["provider"].get("type")
    has_credentials = any(name.startswith("AWS_") for name in os.environ) or (Path.home() / ".aws").is_dir()
    if kind == "aws" and not has_credentials:
        return None
    command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "get-head-ip", str(file)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=HEAD_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    parts = answer.stdout.split()
    return parts[-1] if parts else None


def choose(
    *,
    local: bool,
    address: str | None,
    cluster: Path | None,
    environ: Mapping[str, str],
    folder: Path,
    head_of: Callable[[Path], str | None],
) -> Target:
    """By options first, then RAY_ADDRESS, then the running cluster of ./cluster.yaml, else this machine.

    Args:
        local: `--local` was given.
        address: of `--address`: `http://...` is a Job API, anything else an address of Ray.
        cluster: of `--cluster`.
        environ: for RAY_ADDRESS.
        folder: of ./cluster.yaml.
        head_of: address of the head of a file's running cluster, or None; called only if needed.

    Raises:
        ClusterError: if more than one option was given.
    """
    options = {"--local": local, "--address": address, "--cluster": cluster}
    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise ClusterError(f"{' and '.join(given)} contradict each other; give one")
    if local:
        return Target("here", "", "--local")
    if address:
        return _at(address, "--address")
    if cluster:
        return Target("cluster", str(cluster), "--cluster")
    if environ.get("RAY_ADDRESS"):
        return _at(environ["RAY_ADDRESS"], "RAY_ADDRESS is set")
    file = folder / CLUSTER_FILE
    head = head_of(file) if file.is_file() else None
    if head:
        return Target("cluster", str(file), f"its head {head} is up")
    return Target("here", "", f"no RAY_ADDRESS, and no cluster of ./{CLUSTER_FILE} is up")


def new_name(study: str) -> str:
    """A name that no other submission has, so that two users never share a study by accident.

    >>> new_name("MLP_PBT").startswith("MLP_PBT-")
    True
    """
    return f"{study[:70]}-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def _at(address: str, why: str) -> Target:
    if address in ("local", ""):
        return Target("here", "", why)
    return Target("jobs" if address.startswith(("http://", "https://")) else "ray", address, why)
