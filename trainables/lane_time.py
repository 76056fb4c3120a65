"""How long an epoch of a trial takes where several trials share a process: measured in one of its own.

Knows no torch: the process that trains does.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from trainables.dry_run_process import begin_server
from trainables.memory_limit import SHARE, available_memory_mb, bound_memory

if TYPE_CHECKING:
    from trainables.data import Data
    from trainables.trial import Trial

COUNTS = (1, 4, 16, 64)
"""Lanes that are measured, as far as a device's shares go."""

TIMED = 2
"""Epochs that are timed, after one in which libraries load and groups are built; the shorter counts."""


@dataclass(frozen=True, slots=True)
class LaneTime:
    """What so many trials in one process come to.

    Attributes:
        lanes: trials in the process.
        epoch_s: seconds of wall time for each epoch of a trial: those of a round divided by the lanes.
        fused: trials of the largest group that is trained together; 1 if each is trained by itself.
        memory_mb: peak of the process, or of its GPU where it has one, MiB for each trial.
        obstacle: why the first trial that is trained by itself is; empty if none need be.
    """

    lanes: int
    epoch_s: float
    fused: int
    memory_mb: float
    obstacle: str = ""


def counts_up_to(most: int) -> tuple[int, ...]:
    """The numbers of lanes to measure where a device has shares for so many trials.

    >>> counts_up_to(1), counts_up_to(6), counts_up_to(16)
    ((), (1, 4, 6), (1, 4, 16))
    """
    return tuple(sorted({min(count, most) for count in COUNTS})) if most > 1 else ()


def measure_lanes(
    configs: Sequence[Mapping[str, Any]], data: Data, *, gpu: float, counts: Sequence[int], limit_s: float
) -> list[LaneTime]:
    """Measure one number of lanes after the other, in a process that is gone afterwards.

    Args:
        configs: of trials that are known to run, as a trial gets them; lanes take them in turn.
        data: what they train on.
        gpu: share of a GPU that all lanes together may use; 0 for the CPU.
        counts: numbers of lanes, rising.
        limit_s: seconds for all of it.

    Returns:
        What was measured in that time; less where memory runs out before.
    """
    begin_server(["__main__", "trainables.dry_run"])  # torch is imported once
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe(duplex=False)
    arguments = there, list(map(dict, configs)), data, gpu, tuple(counts)
    process = context.Process(target=_in_child, args=arguments, daemon=True)
    until, found = time.monotonic() + limit_s, list[LaneTime]()
    with here:
        process.start()
        there.close()
        try:
            while here.poll(max(until - time.monotonic(), 0.0)):
                found.append(here.recv())
        except EOFError:
            pass  # it is done, or the kernel ended it for want of memory
        finally:
            process.kill()
            process.join()
            process.close()
    return found


def lane_times(
    configs: Sequence[Mapping[str, Any]], data: Data, gpu: float, counts: Sequence[int]
) -> Iterator[LaneTime]:
    """The same in this process, whose memory stays bounded; ends where a trial runs out of it."""
    if not gpu:
        bound_memory(SHARE * available_memory_mb())
    from trainables.trial import Trial

    longer = [dict(config) | {"epochs": max(config["epochs"], 1 + TIMED)} for config in configs]
    for count in counts:
        trials = [Trial(data) for _ in range(count)]
        for trial, config in zip(trials, itertools.cycle(longer), strict=False):
            trial.begin(config, gpu)
        time_ = _time_of(trials)
        for trial in trials:
            trial.close()
        if time_ is None:
            return
        yield time_


@dataclass(eq=False)
class _Lane:
    """A trial, as `FusedTrials` is given it."""

    trial: Trial

    def built(self) -> Trial:
        return self.trial


def _time_of(trials: Sequence[Trial]) -> LaneTime | None:
    """The time of these, of whom some may diverge meanwhile; None if nobody is left, or memory runs out."""
    from trainables.dry_run import peak_memory_mb
    from trainables.fused_trials import FusedTrials

    fusion, fused, least, result = FusedTrials(), 1, math.inf, dict[str, Any]()
    lanes = [_Lane(trial) for trial in trials]
    for epoch in range(1 + TIMED):
        begun = time.perf_counter()
        at_work = [lane for lane in lanes if lane.trial.outcome is None]
        if len(at_work) > 1:
            fused = max(fused, fusion.train_ahead(at_work))
        for lane in at_work:
            result |= lane.trial.step()
        if not at_work or any(trial.outcome and trial.outcome["outcome"] == "oom" for trial in trials):
            return None
        if epoch:
            least = min(least, (time.perf_counter() - begun) / len(at_work))
    obstacles = [fusion.obstacle(lane) for lane in lanes if lane.trial.outcome is None]
    memory_mb = peak_memory_mb(trials[0], result) / len(trials)
    return LaneTime(len(trials), least, fused, memory_mb, next(filter(None, obstacles), ""))


def _in_child(
    there: Connection, configs: list[dict[str, Any]], data: Data, gpu: float, counts: tuple[int, ...]
) -> None:
    with there:
        for timed in lane_times(configs, data, gpu, counts):
            there.send(timed)
