"""Checks that every node has the driver's versions of torch and Ray. Imports little: workers wait for it."""

from __future__ import annotations

import platform
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raysweep.cluster.errors import ClusterError

PACKAGES = ("ray", "torch")
ANSWER_S = 60.0


@contextmanager
def same_versions_on_nodes() -> Iterator[None]:
    """While the block does other work, ask every node of the running Ray what is installed there.

    A node that does not answer in time is skipped: its trials record what they run with.

    Raises:
        ClusterError: at the end of the block, if a node has another Ray, torch or Python than the driver.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    query: Any = ray.remote(num_cpus=0, max_retries=0)(installed)
    pending = [
        query.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        for node in others
    ]
    yield
    answers = []
    for answer in ray.wait(pending, num_returns=len(pending), timeout=ANSWER_S)[0] if pending else ():
        try:
            answers.append(ray.get(answer))
        except ray.exceptions.RayError:  # the node was lost
            continue
    if wrong := differences(installed()[1], answers):
        raise ClusterError(wrong)


def installed() -> tuple[str, dict[str, str]]:
    """This host, and the versions here that must be the same on all nodes; imports nothing.

    Builds (`2.13.0+cu130`, `2.13.0+cpu`) count as the same version: a head without a GPU may differ.
    """
    versions = {name: metadata.version(name).partition("+")[0] for name in PACKAGES}
    python = ".".join(platform.python_version_tuple()[:2])
    return socket.gethostname(), versions | {"Python": python}


def differences(driver: Mapping[str, str], nodes: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    """Which nodes have other versions than the driver, in one line; "" if none has.

    >>> differences({"torch": "2.13.0"}, [("a", {"torch": "2.13.0"}), ("b", {"torch": "2.12.1"})])
    'node b has torch 2.12.1, the driver 2.13.0; install the same on all: pip install -c constraints.txt -e .'
    """
    other = [
        f"node {host} has {name} {version}, the driver {driver[name]}"
        for host, versions in sorted(nodes, key=lambda node: node[0])
        for name, version in versions.items()
        if version != driver[name]
    ]
    fix = "; install the same on all: pip install -c constraints.txt -e ."
    return "; ".join(other) + fix if other else ""
