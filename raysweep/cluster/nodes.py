"""What a cluster's nodes have, together and each by itself, now and at most. Knows nothing of Ray."""

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
    """Machines that trials may use; a trial lies on one of them.

    Attributes:
        machines: each node's cores and GPUs.
        promised: how many nodes should be up before trials start.
        may_grow: whether larger or more machines may come than are known here (an autoscaler whose limits
            nobody tells us, as KubeRay's).
    """

    machines: tuple[Machine, ...]
    promised: int = 0
    may_grow: bool = False

    @property
    def cpus(self) -> int:
        """Cores of all of them."""
        return sum(node.cpus for node in self.machines)

    @property
    def gpus(self) -> int:
        """GPUs of all of them."""
        return sum(node.gpus for node in self.machines)

    @property
    def total(self) -> dict[str, float]:
        """The resources of all of them, in Ray's words."""
        return {"CPU": self.cpus, "GPU": self.gpus}

    def gpu_share(self, asked: float | None) -> float:
        """GPUs of a trial: what was asked, else one whole GPU where there are any, else none.

        Raises:
            CannotPlace: if nothing was asked, and no machine for trials is known yet.
        """
        if asked is None and self.may_grow and not any(node.cpus or node.gpus for node in self.machines):
            raise CannotPlace(
                "resources_per_trial.gpu: no node for trials is up yet, and nothing says whether those that "
                "come have GPUs; set it to the GPUs of one trial, or to 0"
            )
        return Machine(0, max((node.gpus for node in self.machines), default=0)).gpu_share(asked)

    def share_after_oom(self, asked: ResourceRequest) -> dict[str, float] | None:
        """What a trial that ran out of memory gets in its second run; None if no node has more."""
        largest = max(self.machines, key=lambda node: (node.gpus, node.cpus), default=Machine(0, 0))
        return largest.share_after_oom(asked)

    def slots(self, asked: ResourceRequest, limit: int | None = None) -> int:
        """How many trials run at once on all nodes, and no more than `limit`.

        Where nodes may come that are not known, `limit` trials: what is asked of the autoscaler.

        Raises:
            CannotPlace: if no node could ever hold one trial.

        >>> from types import SimpleNamespace
        >>> Nodes((Machine(2, 0), Machine(8, 1), Machine(8, 1))).slots(SimpleNamespace(cpu=4, gpu=0.5))
        4
        """
        share = TrialShare(asked.cpu, self.gpu_share(asked.gpu))
        if self.may_grow and limit is not None:
            return limit
        fits = self.fitting(share)
        if fits < 1 and self.may_grow:
            raise CannotPlace(
                f"resources_per_trial: a trial asks for {asked.cpu:g} CPU and {share.gpu:g} GPU, and none of "
                f"the {len(self.machines)} nodes that are up has room for one; set max_concurrent_trials to "
                "the trials that the autoscaler is to be asked for"
            )
        if fits < 1:
            largest = max(self.machines, key=lambda node: (node.gpus, node.cpus), default=Machine(0, 0))
            raise CannotPlace(
                f"resources_per_trial: a trial asks for {asked.cpu:g} CPU and {share.gpu:g} GPU; the largest "
                f"of {len(self.machines)} nodes that the cluster can ever have offers {largest.cpus} CPU and "
                f"{largest.gpus} GPU; lower what a trial asks for, or offer larger nodes"
            )
        return fits if limit is None else min(fits, limit)

    def fitting(self, asked: ResourceRequest) -> int:
        """Trials of a decided GPU share that the nodes hold, each node by itself; 0 if none does."""
        fits = 0
        for node in self.machines:
            with contextlib.suppress(CannotPlace):
                fits += node.slots(asked)
        return fits


@dataclass(frozen=True, slots=True)
class TrialShare:
    """Resources of one trial, its GPU share decided."""

    cpu: float
    gpu: float
    on_oom: None = None


def available_nodes(config: Mapping[str, Any]) -> Nodes | None:
    """What the cluster of a file can ever have; None where the file does not say (machines one owns).

    Args:
        config: a cluster file as a mapping, best the one that `ray up` put on the head
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
        has = kind["resources"]
        machine = Machine(cpus=int(has.get("CPU", 0)), gpus=int(has.get("GPU", 0)))
        if name == head:
            heads.append(machine)
        else:
            workers += [machine] * int(kind.get("max_workers", most))
    # Of several kinds together no more than the file's own limit; which, the autoscaler decides: the largest.
    workers.sort(key=lambda node: (node.gpus, node.cpus), reverse=True)
    return Nodes((*heads, *workers[:most]), declared_nodes(config))


def declared_nodes(config: Mapping[str, Any]) -> int:
    """Nodes that are up at the least, the head among them."""
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
        ClusterError: if it cannot be read as one.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ClusterError(f"{path}: no cluster file ({one_line(error)})") from None
    if not isinstance(config, dict) or "provider" not in config:
        raise ClusterError(f"{path}: no cluster file: it has no `provider`; see cluster.yaml in the clone")
    return config


def machines_of(nodes: Sequence[Mapping[str, Any]]) -> Iterator[Machine]:
    """Ray's list of nodes -> what each alive one has."""
    for node in nodes:
        if node["Alive"]:
            has = node["Resources"]
            yield Machine(cpus=int(has.get("CPU", 0)), gpus=int(has.get("GPU", 0)))
