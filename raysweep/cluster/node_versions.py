"""Whether every node has the torch and the Ray that the driver has. Light: workers wait for its import."""

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
    """While the block is at other work, ask every node of the Ray that is up what is installed there.

    A node that does not answer in time is passed over: its trials say what they run with.

    Raises:
        ClusterError: at the end of the block, if some have another Ray, torch or Python than the driver.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    look: Any = ray.remote(num_cpus=0, max_retries=0)(installed)
    asked = [
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        for node in others
    ]
    yield
    answers = []
    for answer in ray.wait(asked, num_returns=len(asked), timeout=ANSWER_S)[0] if asked else ():
        try:
            answers.append(ray.get(answer))
        except ray.exceptions.RayError:  # the node has gone meanwhile
            continue
    if wrong := differences(installed()[1], answers):
        raise ClusterError(wrong)


def installed() -> tuple[str, dict[str, str]]:
    """This host, and the versions here that must be the same on all nodes; nothing is imported for it.

    A build (`2.13.0+cu130`, `2.13.0+cpu`) is no other version: a head without a GPU may have its own.
    """
    versions = {name: metadata.version(name).partition("+")[0] for name in PACKAGES}
    python = ".".join(platform.python_version_tuple()[:2])
    return socket.gethostname(), versions | {"Python": python}


def differences(driver: Mapping[str, str], nodes: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    """Which nodes have other versions than the driver, in one line; empty if none has.

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
