"""Uses a Ray that is already running, such as a cluster's from one of its nodes, for a sweep."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from raysweep.cluster.embedded import quiet_ray
from raysweep.cluster.errors import ClusterError
from raysweep.cluster.machine import CannotPlace
from raysweep.cluster.nodes import (
    Nodes,
    TrialShare,
    available_nodes,
    declared_nodes,
    machines_of,
    read_cluster_file,
)
from raysweep.cluster.ray_private import autoscaler_report, bootstrap_address, keep_search_path, keep_sigterm
from raysweep.cluster.shared_slots import Capacity, trial_cost
from raysweep.cluster.target import Target
from raysweep.formatting import one_line
from raysweep.launch_command import IN_A_JOB
from trainables.imports import CLONE

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")  # `ray up` leaves the cluster's file on the head
NODES = "RAYSWEEP_NODES"  # how many nodes this Ray will have, set by what started it (a Slurm job does)
IN_A_POD = "KUBERNETES_SERVICE_HOST"  # Kubernetes sets it in every container
NODES_S = 300.0  # how long promised nodes may take; then the sweep starts with those that are up
QUIET_S = 30.0  # no node pending for so long: the autoscaler has given up, or has not begun
LOOK_S = 1.0
ANSWERS_S = 10.0  # to connect to a head's port


@contextmanager
def attach_ray(address: str, *, say: Callable[[str], None] = print) -> Iterator[Nodes]:
    """Connect to the Ray at `address` for the length of a `with` block.

    A trial's process adds the folders that its config names to its path: a job's own folder is on every
    node, others must be on storage that all nodes see. If this process is already connected to a Ray, that
    one is used and stays connected.

    Args:
        address: as `ray.init` takes it; `auto` for the one this machine is a node of.
        say: receives a line when nodes are waited for.

    Yields:
        What the cluster can offer at most: its autoscaler's limits if it has any, else the nodes that are up.

    Raises:
        ClusterError: if there is no Ray at `address`.
    """
    if ray.is_initialized():
        with quiet_ray(), quiet_log():
            yield nodes_up(_cluster_config())
        return
    refuse_silence(address)
    environment = None if IN_A_JOB in os.environ else {"env_vars": {"PYTHONPATH": str(CLONE)}}
    with quiet_ray():
        try:
            with keep_sigterm():
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    runtime_env=environment,
                    job_config=keep_search_path(),
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ClusterError(
                f"no Ray at {address} ({one_line(error, 300)}); RAY_ADDRESS or --address selects another"
            ) from None
        try:
            config = _cluster_config()
            if promised := promised_nodes(config, os.environ):
                _wait_for(promised, say)
            yield available_nodes(config) or nodes_up(config)
        finally:
            ray.shutdown()


def ray_of_this_process() -> Target | None:
    """The Ray that this process is connected to (as in a notebook after `ray.init`); None without one."""
    if not ray.is_initialized():
        return None
    return Target("ray", ray.get_runtime_context().gcs_address, "this process is connected to it")


@contextmanager
def quiet_log() -> Iterator[None]:
    """Make Ray log errors only, for the length of a `with` block."""
    log = logging.getLogger("ray")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def capacity_now(share: TrialShare, limit: int | None) -> Capacity:
    """What the Ray of this process can hold now, with its autoscaler; at least one trial.

    The autoscaler's limits are read again (`ray up` may have changed them), and nodes that were joined by
    hand count.

    Args:
        share: of one trial.
        limit: `max_concurrent_trials` of the sweep, used if nodes of unknown size may join.
    """
    config, most = _cluster_config(), Capacity(0, {})
    cost = trial_cost(share.cpu, share.gpu)
    for nodes in (available_nodes(config), nodes_up(config)):
        with contextlib.suppress(CannotPlace):
            if nodes is not None:
                slots = nodes.slots(share, limit if nodes.may_grow else None)
                most = max(most, Capacity(slots, nodes.total), key=lambda each: each.slots)
    slots = max(most.slots, 1)
    return Capacity(
        slots, {kind: max(most.total.get(kind, 0), slots * amount) for kind, amount in cost.items()}
    )


def promised_nodes(config: Mapping[str, Any], environ: Mapping[str, str]) -> int:
    """How many nodes of a Ray should be up before a sweep starts; 0 if unknown.

    >>> promised_nodes({"provider": {"type": "local", "worker_ips": ["a", "b"]}}, {})
    3
    """
    if environ.get(NODES, "").isdecimal():
        return int(environ[NODES])
    return declared_nodes(config) if config else 0


def _cluster_config() -> dict[str, Any]:
    if NODES in os.environ:
        return {}  # `ray up` did not start this Ray, whatever it has left in a shared home
    file = BOOTSTRAP.expanduser()
    return read_cluster_file(file) if file.is_file() else {}


def nodes_up(config: Mapping[str, Any] | None = None) -> Nodes:
    """The nodes that are up; more may join without a cluster file in a pod, or if no node has cores."""
    machines = tuple(machines_of(ray.nodes()))
    grows = not config and (IN_A_POD in os.environ or not any(node.cpus for node in machines))
    return Nodes(machines, len(machines), may_grow=grows)


def refuse_silence(address: str) -> None:
    """Try the port of a Ray first: Ray itself would retry for a quarter of an hour.

    Raises:
        ClusterError: if nothing answers at `address`.
    """
    if "://" in address:
        return  # a Ray Client, which has its own time limit
    try:
        host, port = bootstrap_address(address)
        socket.create_connection((host, port), timeout=ANSWERS_S).close()
    except (OSError, ValueError) as error:
        why = one_line(getattr(error, "strerror", None) or error)
        raise ClusterError(
            f"no Ray answers at {address} ({why}); "
            "`--local` runs here, RAY_ADDRESS or --address selects another"
        ) from None


def _wait_for(nodes: int, say: Callable[[str], None]) -> None:
    """Wait for promised nodes, as long as one of them may still start."""
    deadline, announced, quiet_since = time.monotonic() + NODES_S, False, math.inf
    while (up := sum(node["Alive"] for node in ray.nodes())) < nodes:
        now, report = time.monotonic(), autoscaler_report()
        coming = report is None or report.pending > 0
        quiet_since = math.inf if coming else min(quiet_since, now)
        if now > deadline or now - quiet_since > QUIET_S:
            failed = f" ({'; '.join(report.failures)})" if report and report.failures else ""
            say(f"{up} of {nodes} nodes are up{failed}; starting with these, others are used once they join")
            return
        if not announced:
            say(f"{up} of {nodes} nodes are up, waiting for the rest")
            announced = True
        with contextlib.suppress(InterruptedError):
            time.sleep(LOOK_S)
