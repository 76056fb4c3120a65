"""Two epochs of a configuration in a process of its own: what they take, and whether all goes well.

Knows no torch: the process does (`trainables.preflight`). A process that the kernel ends for want of
memory, or that hangs, is an outcome like any other.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainables.data import Data

KILLED = -9
OOM_SCORE = Path("/proc/self/oom_score_adj")
SHARE = 0.8  # of the memory there is: what all rehearsals together may take


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What became of a configuration in its first two epochs (one, if the run has no more).

    Attributes:
        outcome: "ran", or how it ended: "failed", "oom", "diverged", "slow" (it took more than its time).
        reason: why, in a line; empty if it ran.
        epoch_s: seconds of the last epoch, the first being slower: libraries load, memory is claimed.
        train_losses: of each epoch.
        val_losses: of each epoch.
        memory_mb: peak, MiB: of the process, or of the GPU where it has one.
        gpu_mb: memory of the whole GPU, MiB; 0 without one.
        checkpoint_mb: size of a checkpoint, MiB.
        parameters: numbers in the net that are trained; 0 for a loop of the user's own.
        unreached: names of parameters that no gradient reaches.
        not_finite: names of parameters whose gradient is not finite.
        still: whether an optimizer step leaves every parameter as it was.
        restored: whether the second epoch is the same to the last bit from a checkpoint; None if not tried.
    """

    outcome: str
    reason: str = ""
    epoch_s: float = 0.0
    train_losses: tuple[float, ...] = ()
    val_losses: tuple[float, ...] = ()
    memory_mb: float = 0.0
    gpu_mb: float = 0.0
    checkpoint_mb: float = 0.0
    parameters: int = 0
    unreached: tuple[str, ...] = ()
    not_finite: tuple[str, ...] = ()
    still: bool = False
    restored: bool | None = None

    @property
    def learns(self) -> bool | None:
        """Whether the loss on what is trained on falls; None if there was no second epoch."""
        return self.train_losses[1] < self.train_losses[0] if len(self.train_losses) > 1 else None


def rehearse_all(
    configs: Sequence[Mapping[str, Any]],
    data: Data,
    *,
    gpu: float,
    at_once: int,
    limit_s: float,
    memory_mb: float,
) -> list[Rehearsal]:
    """Rehearse configurations, so many at once, each in a process that begins with nothing but torch.

    Args:
        configs: as a trial gets them; the first is also restored from a checkpoint.
        data: what they train on.
        gpu: share of a GPU that each may use; 0 for the CPU.
        at_once: processes beside each other; what they take of each other's time is then in their times.
        limit_s: seconds after which one is ended.
        memory_mb: memory that may still be taken on this machine, MiB; no limit is set on a GPU.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "trainables.preflight"])  # torch is imported once
    memory = 0 if gpu else int(SHARE * memory_mb * 2**20 / at_once)  # CUDA maps more than it takes

    def one(place: int) -> Rehearsal:
        here, there = context.Pipe(duplex=False)
        arguments = there, dict(configs[place]), data, gpu, memory, place == 0
        process = context.Process(target=_in_child, args=arguments, daemon=True)
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


def _answer(here: Connection, process: Any, limit_s: float) -> Rehearsal:
    if not here.poll(limit_s):
        return Rehearsal("slow", f"two epochs take more than {limit_s:g} s")
    try:
        found: Rehearsal = here.recv()
    except EOFError:
        process.join()
        if process.exitcode == KILLED:
            return Rehearsal("oom", "the kernel ended its process, which it does when memory runs out")
        return Rehearsal("failed", f"its process ended with exit code {process.exitcode}")
    return found


def _in_child(
    there: Connection, config: dict[str, Any], data: Data, gpu: float, memory: int, restores: bool
) -> None:
    if OOM_SCORE.exists():
        OOM_SCORE.write_text("1000")  # where memory runs out, this process goes, and no one else's
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))  # then torch says so, not the kernel
    from trainables.preflight import rehearse

    with tempfile.TemporaryDirectory() as folder, there:
        there.send(rehearse(config, data, gpu, Path(folder), restores=restores))
