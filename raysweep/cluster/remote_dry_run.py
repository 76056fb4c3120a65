"""Configurations rehearsed where trials would run them: a Ray task each, with a trial's resources."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trainables.dry_run_process import dry_run_here
from trainables.dry_run_report import DryRunReport
from trainables.memory_limit import SHARE, available_memory_mb

if TYPE_CHECKING:
    from trainables.data import Data

LOOK_S = 0.5
BEGINS_S = 60.0
"""Beside its epochs' time: until a task has a process with torch in it."""


def rehearse_on_workers(
    configs: Sequence[Mapping[str, Any]],
    data: Data,
    *,
    cpu: float,
    gpu: float,
    at_once: int,
    limit_s: float,
) -> list[DryRunReport]:
    """Rehearse configurations on the nodes of the Ray that is up, spread over them, so many at once.

    Args:
        configs: as a trial gets them; the first is also restored from a checkpoint.
        data: what they train on.
        cpu: cores of each.
        gpu: share of a GPU that each may use; 0 for the CPU.
        at_once: tasks beside each other.
        limit_s: seconds after which one is ended.
    """
    task: Any = ray.remote(
        num_cpus=cpu, num_gpus=gpu, max_calls=1, max_retries=0, scheduling_strategy="SPREAD"
    )(_on_worker)
    given, waiting = ray.put(data), list(enumerate(configs))
    running: dict[Any, tuple[int, float]] = {}
    found: dict[int, DryRunReport] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            place, config = waiting.pop(0)
            ref = task.remote(dict(config), given, cpu, gpu, place == 0)
            running[ref] = place, time.monotonic() + BEGINS_S + limit_s
        ready, _ = ray.wait(list(running), timeout=LOOK_S)
        overdue = [ref for ref, (_, until) in running.items() if time.monotonic() > until]
        for ref in {*ready, *overdue}:
            found[running.pop(ref)[0]] = _answer(ref, limit_s)
    return [found[place] for place in range(len(configs))]


def free_memory_mb() -> float:
    """The least that is free on any node that has a core for trials, MiB."""
    look: Any = ray.remote(num_cpus=0, max_retries=0)(available_memory_mb)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    there = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    return float(min(ray.get([look.options(scheduling_strategy=each).remote() for each in there])))


def _on_worker(config: dict[str, Any], data: Data, cpu: float, gpu: float, restores: bool) -> DryRunReport:
    """Beside as many others as the node has room for, each with its part of the memory."""
    node = ray.get_runtime_context().get_node_id()
    cores = next(each["Resources"].get("CPU", 1.0) for each in ray.nodes() if each["NodeID"] == node)
    memory_mb = SHARE * available_memory_mb() / max(1, cores // cpu)
    return dry_run_here(config, data, gpu, memory_mb, restores=restores)


def _answer(ref: Any, limit_s: float) -> DryRunReport:
    try:
        found: DryRunReport = ray.get(ref, timeout=0)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(ref, force=True)
        return DryRunReport("slow", f"two epochs take more than {limit_s:g} s, or found no place")
    except ray.exceptions.OutOfMemoryError:
        return DryRunReport("oom", "Ray ended its process, which it does when a node's memory runs out")
    except ray.exceptions.RayError as error:
        return DryRunReport("failed", " ".join(str(error).split())[-300:])
    return found
