"""What a cluster's nodes have, together and each, now and at most. Independent of Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.machine import CannotPlace, Machine, ResourceRequest
from raysweep.formatting import one_line


@dataclass(frozen=True, slots=True)
class Nodes:
    """Machines that trials may use; each trial runs on one of them.

    Attributes:
        machines: each node's cores and GPUs.
        promised: how many nodes should be up before trials start.
        may_grow: whether more or larger machines may join than are known here (an autoscaler with unknown
            limits, such as KubeRay's).
    """

    machines: tuple[Machine, ...]
    promised: int = 0
    may_grow: bool = False

    @property
    def cpus(self) -> int:
        """Cores of all nodes."""
        return sum(node.cpus for node in self.machines)

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.machines)

    @property
    def total(self) -> dict[str, float]:
        """The resources of all nodes, in Ray's terms."""
        return {"CPU": self.cpus, "GPU": self.gpus}

    def gpu_share(self, requested: float | None) -> float:
        """GPUs of a trial: the requested share, else one whole GPU if there are any, else none.

        Raises:
            CannotPlace: if no share was requested, and no machine for trials is known yet.
        """
        if requested is None and self.may_grow and not any(node.cpus or node.gpus for node in self.machines):
            raise CannotPlace(
                "resources_per_trial.gpu: no node for trials is up yet, and it is unknown whether those that "
                "join have GPUs; set it to the GPUs of one trial, or to 0"
            )
        return Machine(0, max((node.gpus for node in self.machines), default=0)).gpu_share(requested)

    def share_after_oom(self, request: ResourceRequest) -> dict[str, float] | None:
        """What a trial that ran out of memory gets in its second run; None if no node has more."""
        largest = max(self.machines, key=lambda node: (node.gpus, node.cpus), default=Machine(0, 0))
        return largest.share_after_oom(request)

    def slots(self, request: ResourceRequest, limit: int | None = None) -> int:
        """How many trials run in parallel on all nodes, at most `limit`.

        If unknown nodes may join, exactly `limit`: as many trials are requested from the autoscaler.

        Raises:
            CannotPlace: if no node can ever hold one trial.

        >>> from types import SimpleNamespace
        >>> Nodes((Machine(2, 0), Machine(8, 1), Machine(8, 1))).slots(SimpleNamespace(cpu=4, gpu=0.5))
        4
        """
        share = TrialShare(request.cpu, self.gpu_share(request.gpu))
        if self.may_grow and limit is not None:
            return limit
        fits = self.fitting(share)
        if fits < 1 and self.may_grow:
            raise CannotPlace(
                f"resources_per_trial: a trial asks for {request.cpu:g} CPU and {share.gpu:g} GPU, but none "
                f"of the {len(self.machines)} nodes that are up has room for it; set max_concurrent_trials "
                "to the number of trials to request from the autoscaler"
            )
        if fits < 1:
            largest = max(self.machines, key=lambda node: (node.gpus, node.cpus), default=Machine(0, 0))
            raise CannotPlace(
                f"resources_per_trial: a trial asks for {request.cpu:g} CPU and {share.gpu:g} GPU, but the "
                f"largest of {len(self.machines)} nodes that the cluster can have offers {largest.cpus} CPU "
                f"and {largest.gpus} GPU; ask for less, or offer larger nodes"
            )
        return fits if limit is None else min(fits, limit)

    def fitting(self, request: ResourceRequest) -> int:
        """How many trials fit, summed over the nodes; `gpu` of the request is set."""
        fits = 0
        for node in self.machines:
            with contextlib.suppress(CannotPlace):
                fits += node.slots(request)
        return fits


@dataclass(frozen=True, slots=True)
class TrialShare:
    """Resources of one trial, with its GPU share set."""

    cpu: float
    gpu: float
    on_oom: None = None


def available_nodes(config: Mapping[str, Any]) -> Nodes | None:
    """The nodes that the cluster of a file can have at most; None if the file does not say (own machines).

    Args:
        config: a cluster file as a mapping, ideally the one that `ray up` puts on the head
            (`~/ray_bootstrap_config.yaml`), in which the resources of known instance types are filled in.
    """
    if config.get("provider", {}).get("type") == "local":
        return None
    types: Mapping[str, Any] = config.get("available_node_types") or {}
    if not types or any(not kind.get("resources") for kind in types.values()):
        return None
    head, most = config.get("head_node_type"), int(config.get("max_workers", 0))
    heads, workers = list[Machine](), list[Machine]()
    for name, kind in types.items():
        machine = _machine(kind["resources"])
        if name == head:
            heads.append(machine)
        else:
            workers += [machine] * int(kind.get("max_workers", most))
    # All kinds together are limited by the file's own max_workers; assume that the largest are started.
    workers.sort(key=lambda node: (node.gpus, node.cpus), reverse=True)
    return Nodes((*heads, *workers[:most]), declared_nodes(config))


def declared_nodes(config: Mapping[str, Any]) -> int:
    """The minimum number of running nodes, including the head."""
    provider = config.get("provider", {})
    if provider.get("type") == "local":
        workers = len(provider.get("worker_ips") or ())
        return 1 + min(workers, int(config.get("min_workers", workers)))
    types: Mapping[str, Any] = config.get("available_node_types") or {}
    head = config.get("head_node_type")
    return 1 + sum(int(kind.get("min_workers", 0)) for name, kind in types.items() if name != head)


def read_cluster_file(path: Path) -> dict[str, Any]:
    """A cluster file as a mapping.

    Raises:
        ClusterError: if it is not a valid one.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ClusterError(f"{path}: not a cluster file ({one_line(error)})") from None
    if not isinstance(config, dict) or "provider" not in config:
        raise ClusterError(f"{path}: not a cluster file: no `provider`; see cluster.yaml in the clone")
    return config


def machines_of(nodes: Sequence[Mapping[str, Any]]) -> Iterator[Machine]:
    """What each live node in Ray's list of nodes has."""
    for node in nodes:
        if node["Alive"]:
            yield _machine(node["Resources"])


def _machine(resources: Mapping[str, float]) -> Machine:
    return Machine(cpus=int(resources.get("CPU", 0)), gpus=int(resources.get("GPU", 0)))
