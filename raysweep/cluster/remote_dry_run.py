"""Dry runs of configurations where trials would run: each a Ray task with a trial's resources."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raysweep.formatting import one_line
from trainables.dry_run_process import dry_run_here
from trainables.dry_run_report import DryRunReport
from trainables.lane_time import LaneTime, lane_times
from trainables.memory_limit import SHARE, available_memory_mb

if TYPE_CHECKING:
    from trainables.data import Data

LOOK_S = 0.5
PLACED_S = 900.0
"""Time until a task starts: a cloud may have to start a node for it first."""
BEGINS_S = 60.0
"""Time for a started task to import torch, in addition to its epochs."""


def dry_run_on_workers(
    configs: Sequence[Mapping[str, Any]],
    data: Data,
    *,
    cpu: float,
    gpu: float,
    at_once: int,
    limit_s: float,
) -> list[DryRunReport]:
    """Dry-run configurations on the nodes of the running Ray, spread over them.

    Args:
        configs: as a trial gets them; the first is also restored from a checkpoint.
        data: what they train on.
        cpu: cores of each.
        gpu: share of a GPU that each may use; 0 for the CPU.
        at_once: tasks that run in parallel at most.
        limit_s: seconds after its start when a task is ended.
    """
    task: Any = ray.remote(
        num_cpus=cpu,
        num_gpus=gpu,
        max_calls=1,
        max_retries=0,
        scheduling_strategy="SPREAD",
        num_returns="streaming",
    )(_on_worker)
    shared_data, waiting = ray.put(data), list(enumerate(configs))
    running: dict[Any, _StartedDryRun] = {}
    reports: dict[int, DryRunReport] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            index, config = waiting.pop(0)
            answers = task.remote(dict(config), shared_data, cpu, gpu, index == 0)
            running[answers] = _StartedDryRun(index, time.monotonic() + PLACED_S)
        ready, _ = ray.wait(list(running), timeout=LOOK_S)
        for answers in ready:
            answer = _next(answers)
            if answer is None:
                running[answers] = _StartedDryRun(
                    running[answers].config_index, time.monotonic() + BEGINS_S + limit_s, runs=True
                )
            else:
                reports[running.pop(answers).config_index] = answer
        for answers in [each for each, one in running.items() if time.monotonic() > one.until]:
            late = running.pop(answers)
            reports[late.config_index] = late.overdue(limit_s)
            ray.cancel(answers, force=True)
    return [reports[index] for index in range(len(configs))]


def measure_lanes_on_worker(
    configs: Sequence[Mapping[str, Any]],
    data: Data,
    *,
    cpu: float,
    gpu: float,
    counts: Sequence[int],
    limit_s: float,
) -> list[LaneTime]:
    """As `trainables.lane_time.measure_lanes`, on a node of the running Ray, whatever else runs there.

    Args:
        configs: of trials that are known to run, as a trial gets them.
        data: what they train on.
        cpu: cores of a trial; the lanes share one core, or these if more.
        gpu: share of a GPU that all lanes together may use; 0 for the CPU.
        counts: numbers of lanes, increasing.
        limit_s: seconds for the whole measurement, from its start.
    """
    task: Any = ray.remote(
        num_cpus=max(cpu, 1.0), num_gpus=gpu, max_calls=1, max_retries=0, num_returns="streaming"
    )(_lanes_on_worker)
    answers = task.remote(list(map(dict, configs)), ray.put(data), gpu, tuple(counts))
    times: list[LaneTime | None] = []
    until = time.monotonic() + PLACED_S
    while ray.wait([answers], timeout=max(until - time.monotonic(), 0.0))[0]:
        try:
            times.append(ray.get(next(answers)))
        except (StopIteration, ray.exceptions.RayError):  # done, or out of memory
            break
        if len(times) == 1:
            until = time.monotonic() + BEGINS_S + limit_s
    else:
        ray.cancel(answers, force=True)
    return [lane_time for lane_time in times if lane_time is not None]


def _lanes_on_worker(
    configs: list[dict[str, Any]], data: Data, gpu: float, counts: tuple[int, ...]
) -> Iterator[LaneTime | None]:
    """Yields None when it starts, then the measured times."""
    yield None
    yield from lane_times(configs, data, gpu, counts)


class _StartedDryRun(NamedTuple):
    """A submitted dry run: the configuration's index, the deadline, and whether it has started to run."""

    config_index: int
    until: float
    runs: bool = False

    def overdue(self, limit_s: float) -> DryRunReport:
        if self.runs:
            return DryRunReport("slow", f"two epochs take more than {limit_s:g} s")
        message = f"not placed within {PLACED_S:g} s; `ray status` says why no node has room for it"
        return DryRunReport("failed", message)


def free_memory_mb() -> float:
    """The smallest free memory of the nodes with a core for trials, MiB; of this machine without any."""
    query: Any = ray.remote(num_cpus=0, max_retries=0)(available_memory_mb)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    strategies = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    if not strategies:
        return available_memory_mb()
    return float(min(ray.get([query.options(scheduling_strategy=each).remote() for each in strategies])))


def _on_worker(
    config: dict[str, Any], data: Data, cpu: float, gpu: float, restores: bool
) -> Iterator[DryRunReport | None]:
    """Yields None when it starts, then its report. Its memory limit assumes a node full of tasks."""
    yield None
    node = ray.get_runtime_context().get_node_id()
    cores = next(each["Resources"].get("CPU", 1.0) for each in ray.nodes() if each["NodeID"] == node)
    memory_mb = SHARE * available_memory_mb() / max(1, cores // cpu)
    yield dry_run_here(config, data, gpu, memory_mb, restores=restores)


def _next(answers: Any) -> DryRunReport | None:
    """A task's next answer: None when it starts to run, then its report."""
    try:
        answer: DryRunReport | None = ray.get(next(answers))
    except ray.exceptions.OutOfMemoryError:
        return DryRunReport("oom", "Ray ended its process because the node ran out of memory")
    except ray.exceptions.RayError as error:
        return DryRunReport("failed", one_line(error)[-300:])
    except StopIteration:
        return DryRunReport("failed", "its process ended without a report")
    return answer
