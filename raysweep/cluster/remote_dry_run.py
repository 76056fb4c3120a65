"""Configurations rehearsed where trials would run them: a Ray task each, with a trial's resources."""

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
"""Until a task runs: a cloud's node may have to be started for it first."""
BEGINS_S = 60.0
"""Beside its epochs' time: until a task that runs has torch in its process."""


def dry_run_on_workers(
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
        limit_s: seconds after which one is ended, counted from when it runs.
    """
    task: Any = ray.remote(
        num_cpus=cpu,
        num_gpus=gpu,
        max_calls=1,
        max_retries=0,
        scheduling_strategy="SPREAD",
        num_returns="streaming",
    )(_on_worker)
    given, waiting = ray.put(data), list(enumerate(configs))
    running: dict[Any, _StartedDryRun] = {}
    found: dict[int, DryRunReport] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            place, config = waiting.pop(0)
            answers = task.remote(dict(config), given, cpu, gpu, place == 0)
            running[answers] = _StartedDryRun(place, time.monotonic() + PLACED_S)
        ready, _ = ray.wait(list(running), timeout=LOOK_S)
        for answers in ready:
            answer = _next(answers)
            if answer is None:
                running[answers] = _StartedDryRun(
                    running[answers].place, time.monotonic() + BEGINS_S + limit_s, runs=True
                )
            else:
                found[running.pop(answers).place] = answer
        for answers in [each for each, one in running.items() if time.monotonic() > one.until]:
            late = running.pop(answers)
            found[late.place] = late.overdue(limit_s)
            ray.cancel(answers, force=True)
    return [found[place] for place in range(len(configs))]


def measure_lanes_on_worker(
    configs: Sequence[Mapping[str, Any]],
    data: Data,
    *,
    cpu: float,
    gpu: float,
    counts: Sequence[int],
    limit_s: float,
) -> list[LaneTime]:
    """As `trainables.lane_time.measure_lanes`, on a node of the Ray that is up, beside whatever runs there.

    Args:
        configs: of trials that are known to run, as a trial gets them.
        data: what they train on.
        cpu: cores of a trial; the lanes share one, or what one trial of theirs needs.
        gpu: share of a GPU that all lanes together may use; 0 for the CPU.
        counts: numbers of lanes, rising.
        limit_s: seconds for all of it, counted from when it runs.
    """
    task: Any = ray.remote(
        num_cpus=max(cpu, 1.0), num_gpus=gpu, max_calls=1, max_retries=0, num_returns="streaming"
    )(_lanes_on_worker)
    answers = task.remote(list(map(dict, configs)), ray.put(data), gpu, tuple(counts))
    found: list[LaneTime | None] = []
    until = time.monotonic() + PLACED_S
    while ray.wait([answers], timeout=max(until - time.monotonic(), 0.0))[0]:
        try:
            found.append(ray.get(next(answers)))
        except (StopIteration, ray.exceptions.RayError):  # it is done, or out of memory
            break
        if len(found) == 1:
            until = time.monotonic() + BEGINS_S + limit_s
    else:
        ray.cancel(answers, force=True)
    return [speed for speed in found if speed is not None]


def _lanes_on_worker(
    configs: list[dict[str, Any]], data: Data, gpu: float, counts: tuple[int, ...]
) -> Iterator[LaneTime | None]:
    """None once it runs, then what is measured."""
    yield None
    yield from lane_times(configs, data, gpu, counts)


class _StartedDryRun(NamedTuple):
    """One that is under way: which configuration, until when, and whether it has begun to run."""

    place: int
    until: float
    runs: bool = False

    def overdue(self, limit_s: float) -> DryRunReport:
        if self.runs:
            return DryRunReport("slow", f"two epochs take more than {limit_s:g} s")
        message = f"found no place within {PLACED_S:g} s; `ray status` says why no node has room for it"
        return DryRunReport("failed", message)


def free_memory_mb() -> float:
    """The least that is free on any node with a core for trials, MiB; here, where none is up."""
    look: Any = ray.remote(num_cpus=0, max_retries=0)(available_memory_mb)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    there = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    if not there:
        return available_memory_mb()
    return float(min(ray.get([look.options(scheduling_strategy=each).remote() for each in there])))


def _on_worker(
    config: dict[str, Any], data: Data, cpu: float, gpu: float, restores: bool
) -> Iterator[DryRunReport | None]:
    """None once it runs, then its report; it shares the node's memory with as many as have room there."""
    yield None
    node = ray.get_runtime_context().get_node_id()
    cores = next(each["Resources"].get("CPU", 1.0) for each in ray.nodes() if each["NodeID"] == node)
    memory_mb = SHARE * available_memory_mb() / max(1, cores // cpu)
    yield dry_run_here(config, data, gpu, memory_mb, restores=restores)


def _next(answers: Any) -> DryRunReport | None:
    """What a task says next: None when it begins to run, then its report."""
    try:
        answer: DryRunReport | None = ray.get(next(answers))
    except ray.exceptions.OutOfMemoryError:
        return DryRunReport("oom", "Ray ended its process, which it does when a node's memory runs out")
    except ray.exceptions.RayError as error:
        return DryRunReport("failed", one_line(error)[-300:])
    except StopIteration:
        return DryRunReport("failed", "its process ended without a report")
    return answer
