"""Dry runs: two epochs of a configuration in a process of its own.

Imports no torch: the process does (`trainables.dry_run`). A process that the kernel kills when memory runs
out, or that hangs, is an outcome like any other.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from trainables.dry_run_report import DryRunReport
from trainables.memory_limit import SHARE, available_memory_mb, bound_memory

if TYPE_CHECKING:
    from trainables.data import Data

KILLED = -9
_STARTING = threading.Lock()


def dry_run_all(
    configs: Sequence[Mapping[str, Any]],
    data: Data,
    *,
    gpu: float,
    at_once: int,
    limit_s: float,
) -> list[DryRunReport]:
    """Dry-run configurations in parallel, each in a process of its own in which only torch is imported.

    Args:
        configs: configs of trials; the first is also restored from a checkpoint.
        data: what they train on.
        gpu: share of a GPU that each may use; 0 for the CPU.
        at_once: number of parallel processes, whose times then include what they slow each other.
        limit_s: seconds after which a process is ended.
    """
    begin_server()
    memory_mb = SHARE * available_memory_mb() / at_once

    def dry_run_one(index: int) -> DryRunReport:
        arguments = dict(configs[index]), data, gpu, memory_mb, index == 0
        with child_process(_in_child, *arguments) as (pipe, process):  # no daemon: a DataLoader has workers
            return _receive(pipe, process, limit_s)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(dry_run_one, range(len(configs))))


@contextmanager
def child_process(
    target: Callable[..., None], *args: Any, daemon: bool = False
) -> Iterator[tuple[Connection, Any]]:
    """Call a function in a child of the fork server within the block, and kill the child afterwards.

    Yields the pipe from the child, whose other end is the function's first argument, and the process.
    """
    context = multiprocessing.get_context("forkserver")
    pipe, child_pipe = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(child_pipe, *args), daemon=daemon)
    with pipe:
        with _without_main():
            process.start()
        child_pipe.close()
        try:
            yield pipe, process
        finally:
            process.kill()
            process.join()
            process.close()


@contextmanager
def _without_main() -> Iterator[None]:
    """Let children started within the block import no main module.

    It may be a user's script without `if __name__ == "__main__"`, which would run again in each child.
    """
    with _STARTING:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def begin_server() -> None:
    """Start the fork server with this process's `sys.path`, and torch imported once for all children.

    Python before 3.13 sets the path only after the preloading, which then finds other modules, or none
    (python/cpython#117378).
    """
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        forkserver.set_forkserver_preload(["trainables.dry_run"])
        with _without_main():
            forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _receive(pipe: Connection, process: Any, limit_s: float) -> DryRunReport:
    if not pipe.poll(limit_s):
        return DryRunReport("slow", f"two epochs take more than {limit_s:g} s")
    try:
        report: DryRunReport = pipe.recv()
    except EOFError:
        process.join()
        if process.exitcode == KILLED:
            return DryRunReport("oom", "the kernel ended its process, which it does when memory runs out")
        return DryRunReport("failed", f"its process ended with exit code {process.exitcode}")
    return report


def dry_run_here(
    config: Mapping[str, Any], data: Data, gpu: float, memory_mb: float, *, restores: bool
) -> DryRunReport:
    """Dry-run one configuration in this process, whose memory stays limited afterwards.

    Args:
        config: config of a trial.
        data: what it trains on.
        gpu: share of a GPU that it may use; 0 for the CPU.
        memory_mb: memory limit, MiB; not applied with a GPU, as CUDA maps more memory than it uses.
        restores: whether it is also restored from a checkpoint.
    """
    if not gpu:
        bound_memory(memory_mb)
    from trainables.dry_run import dry_run

    with tempfile.TemporaryDirectory() as folder:
        return dry_run(config, data, gpu, Path(folder), restores=restores)


def _in_child(
    pipe: Connection, config: dict[str, Any], data: Data, gpu: float, memory_mb: float, restores: bool
) -> None:
    with pipe:
        pipe.send(dry_run_here(config, data, gpu, memory_mb, restores=restores))
