"""Measures how long an epoch of a trial takes if several trials share a process.

Imports no torch: the process that trains does.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from trainables.dry_run_process import begin_server, child_process
from trainables.memory_limit import SHARE, available_memory_mb, bound_memory

if TYPE_CHECKING:
    from trainables.data import Data
    from trainables.trial import Trial

COUNTS = (1, 4, 16, 64)
"""Numbers of lanes that are measured, up to what a device has shares for."""

TIMED = 2
"""Number of timed epochs, after one for loading libraries and building groups; the shortest counts."""


@dataclass(frozen=True, slots=True)
class LaneTime:
    """Time and memory of a number of trials in one process.

    Attributes:
        lanes: trials in the process.
        epoch_s: seconds per epoch of a trial: wall time of a round divided by the lanes.
        fused: trials of the largest group that is trained together; 1 if each is trained by itself.
        memory_mb: peak memory of the process, or of its GPU if it has one, MiB per trial.
        obstacle: why a trial cannot be trained with others, for the first such trial; empty if all can.
    """

    lanes: int
    epoch_s: float
    fused: int
    memory_mb: float
    obstacle: str = ""


def counts_up_to(most: int) -> tuple[int, ...]:
    """The numbers of lanes to measure if a device has shares for so many trials.

    >>> counts_up_to(1), counts_up_to(6), counts_up_to(16)
    ((), (1, 4, 6), (1, 4, 16))
    """
    return tuple(sorted({min(count, most) for count in COUNTS})) if most > 1 else ()


def measure_lanes(
    configs: Sequence[Mapping[str, Any]], data: Data, *, gpu: float, counts: Sequence[int], limit_s: float
) -> list[LaneTime]:
    """Measure one number of lanes after the other, in a process of its own.

    Args:
        configs: configs of trials that are known to run; lanes take them in turn.
        data: what they train on.
        gpu: share of a GPU that all lanes together may use; 0 for the CPU.
        counts: numbers of lanes, ascending.
        limit_s: time limit for all of them, seconds.

    Returns:
        The times measured within the limit; fewer if memory runs out before.
    """
    begin_server()
    arguments = list(map(dict, configs)), data, gpu, tuple(counts)
    until, times = time.monotonic() + limit_s, list[LaneTime]()
    with (
        child_process(_in_child, *arguments, daemon=True) as (pipe, _),
        contextlib.suppress(EOFError),  # it is done, or the kernel killed it as memory ran out
    ):
        while pipe.poll(max(until - time.monotonic(), 0.0)):
            times.append(pipe.recv())
    return times


def lane_times(
    configs: Sequence[Mapping[str, Any]], data: Data, gpu: float, counts: Sequence[int]
) -> Iterator[LaneTime]:
    """Measure in this process, whose memory stays limited afterwards; ends if memory runs out."""
    if not gpu:
        bound_memory(SHARE * available_memory_mb())
    from trainables.trial import Trial

    longer = [dict(config) | {"epochs": max(config["epochs"], 1 + TIMED)} for config in configs]
    for count in counts:
        trials = [Trial(data) for _ in range(count)]
        for trial, config in zip(trials, itertools.cycle(longer), strict=False):
            trial.begin(config, gpu)
        lane_time = _time_of(trials)
        for trial in trials:
            trial.close()
        if lane_time is None:
            return
        yield lane_time


@dataclass(eq=False)
class _Lane:
    """A lane as `FusedTrials` takes it."""

    trial: Trial

    def get_trial(self) -> Trial:
        return self.trial


def _time_of(trials: Sequence[Trial]) -> LaneTime | None:
    """The time of these trials, some of which may diverge; None if none is left, or memory runs out."""
    from trainables.dry_run import peak_memory_mb
    from trainables.fused_trials import FusedTrials

    fusion, fused, least, result = FusedTrials(), 1, math.inf, dict[str, Any]()
    lanes = [_Lane(trial) for trial in trials]
    for epoch in range(1 + TIMED):
        begun = time.perf_counter()
        active = [lane for lane in lanes if lane.trial.outcome is None]
        if len(active) > 1:
            fused = max(fused, fusion.train_ahead(active))
        for lane in active:
            result |= lane.trial.step()
        if not active or any(trial.outcome and trial.outcome["outcome"] == "oom" for trial in trials):
            return None
        if epoch:
            least = min(least, (time.perf_counter() - begun) / len(active))
    obstacles = [fusion.obstacle(lane) for lane in lanes if lane.trial.outcome is None]
    memory_mb = peak_memory_mb(trials[0], result) / len(trials)
    return LaneTime(len(trials), least, fused, memory_mb, next(filter(None, obstacles), ""))


def _in_child(
    pipe: Connection, configs: list[dict[str, Any]], data: Data, gpu: float, counts: tuple[int, ...]
) -> None:
    with pipe:
        for lane_time in lane_times(configs, data, gpu, counts):
            pipe.send(lane_time)
