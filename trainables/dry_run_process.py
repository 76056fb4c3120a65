"""Two epochs of a configuration in a process of its own: what they take, and whether all goes well.

Knows no torch: the process does (`trainables.dry_run`). A process that the kernel ends for want of
memory, or that hangs, is an outcome like any other.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.dry_run_report import DryRunReport
from trainables.memory_limit import SHARE, available_memory_mb, bound_memory

if TYPE_CHECKING:
    from trainables.data import Data

KILLED = -9


def dry_run_all(
    configs: Sequence[Mapping[str, Any]],
    data: Data,
    *,
    gpu: float,
    at_once: int,
    limit_s: float,
) -> list[DryRunReport]:
    """Rehearse configurations, so many at once, each in a process that begins with nothing but torch.

    Args:
        configs: as a trial gets them; the first is also restored from a checkpoint.
        data: what they train on.
        gpu: share of a GPU that each may use; 0 for the CPU.
        at_once: processes beside each other; what they take of each other's time is then in their times.
        limit_s: seconds after which one is ended.
    """
    context = multiprocessing.get_context("forkserver")
    begin_server(["__main__", "trainables.dry_run"])  # torch is imported once
    memory_mb = SHARE * available_memory_mb() / at_once

    def one(place: int) -> DryRunReport:
        here, there = context.Pipe(duplex=False)
        arguments = there, dict(configs[place]), data, gpu, memory_mb, place == 0
        process = context.Process(target=_in_child, args=arguments)  # no daemon: a DataLoader has workers
        with here:
            process.start()
            there.close()
            try:
                found = _answer(here, process, limit_s)
            finally:
                process.kill()
                process.join()
                process.close()
        return found

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, range(len(configs))))


def begin_server(preload: list[str]) -> None:
    """Start the process that the others are forked from, this process's `sys.path` its own.

    Python before 3.13 sets it only after the preloading, which then finds other modules, or none
    (python/cpython#117378).
    """
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        forkserver.set_forkserver_preload(preload)
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _answer(here: Connection, process: Any, limit_s: float) -> DryRunReport:
    if not here.poll(limit_s):
        return DryRunReport("slow", f"two epochs take more than {limit_s:g} s")
    try:
        found: DryRunReport = here.recv()
    except EOFError:
        process.join()
        if process.exitcode == KILLED:
            return DryRunReport("oom", "the kernel ended its process, which it does when memory runs out")
        return DryRunReport("failed", f"its process ended with exit code {process.exitcode}")
    return found


def dry_run_here(
    config: Mapping[str, Any], data: Data, gpu: float, memory_mb: float, *, restores: bool
) -> DryRunReport:
    """Rehearse one in this process, which is of no more use afterwards: its memory stays bounded.

    Args:
        config: as a trial gets it.
        data: what it trains on.
        gpu: share of a GPU that it may use; 0 for the CPU.
        memory_mb: that it may take, MiB; not bounded on a GPU, for CUDA maps more than it takes.
        restores: whether it is also restored from a checkpoint.
    """
    if not gpu:
        bound_memory(memory_mb)
    from trainables.dry_run import dry_run

    with tempfile.TemporaryDirectory() as folder:
        return dry_run(config, data, gpu, Path(folder), restores=restores)


def _in_child(
    there: Connection, config: dict[str, Any], data: Data, gpu: float, memory_mb: float, restores: bool
) -> None:
    with there:
        there.send(dry_run_here(config, data, gpu, memory_mb, restores=restores))
