"""Forward and backward passes captured as a CUDA graph, and replayed at each step.

A step of small nets mostly launches kernels, one after the other, from Python. A CUDA graph launches those of
a whole forward and backward pass at once (https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). Its
kernels read and write the memory that they were captured with: the banks', and that of the inputs, targets
and results kept here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from trainables.fused.chain_engine import Engine

EAGER_STEPS = 3
"""Steps of one batch shape taken as usual before it is captured; libraries set themselves up in them."""

Results = tuple[torch.Tensor, torch.Tensor]
"""Losses (lanes,) and outputs (lanes, batch, ...)."""

Record = Callable[[Callable[[], Results], Sequence[torch.Generator]], tuple[Callable[[], None], Results]]
"""(passes, generators they draw from) -> a function that replays them, and where it leaves their results."""


class _Captured(NamedTuple):
    """Passes over batches of one shape.

    Attributes:
        x: memory of the inputs.
        y: memory of the targets.
        replay: runs the passes on them.
        results: memory of the results.
    """

    x: torch.Tensor
    y: torch.Tensor
    replay: Callable[[], None]
    results: Results


class CapturedEngine:
    """An engine whose passes are captured, once for each shape of a batch.

    Where capturing fails the engine itself takes every step, and one warning says why.

    Args:
        engine: computes the passes; its memory stays where it is.
        generators: those that the passes draw from.
        record: captures them.
    """

    def __init__(self, engine: Engine, generators: Sequence[torch.Generator], record: Record) -> None:
        self._engine, self._generators, self._record = engine, generators, record
        self._eager_steps: dict[tuple[torch.Size, torch.Size], int] = {}
        self._captured: dict[tuple[torch.Size, torch.Size], _Captured] = {}
        self._works = True

    def losses(self, x: torch.Tensor, y: torch.Tensor) -> Results:
        """See `Engine.losses`; the results are overwritten by the next step of this shape."""
        key = x.shape, y.shape
        if self._works and key not in self._captured:
            taken = self._eager_steps[key] = self._eager_steps.get(key, 0) + 1
            if taken > EAGER_STEPS:
                self._capture(key, x, y)
        captured = self._captured.get(key)
        if captured is None:
            return self._engine.losses(x, y)
        captured.x.copy_(x)
        captured.y.copy_(y)
        captured.replay()
        return captured.results

    def _capture(self, key: tuple[torch.Size, torch.Size], x: torch.Tensor, y: torch.Tensor) -> None:
        own_x, own_y = x.clone(), y.clone()
        try:
            replay, results = self._record(lambda: self._engine.losses(own_x, own_y), self._generators)
        except Exception as error:  # whatever a criterion or a kernel does that cannot be captured
            self._works = False
            warnings.warn(f"trials train together without CUDA graphs: {error}", stacklevel=2)
            return
        self._captured[key] = _Captured(own_x, own_y, replay, results)


def record_on_gpu(
    passes: Callable[[], Results], generators: Sequence[torch.Generator]
) -> tuple[Callable[[], None], Results]:
    """Capture passes as a CUDA graph; see `Record`. Nothing is run, and nothing drawn, until it is replayed.

    Raises:
        RuntimeError: if they cannot be captured; the generators are as before.
    """
    states = [generator.get_state() for generator in generators]
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    try:
        # Other threads of the process (NVML, loaders) may call CUDA meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            results = passes()
    except Exception:
        for generator, state in zip(generators, states, strict=True):
            fresh = torch.Generator(generator.device)  # the old state may still believe that it is captured
            fresh.set_state(state)
            generator.graphsafe_set_state(fresh.graphsafe_get_state())
        raise
    return graph.replay, results


RECORDERS: dict[str, Record] = {"cuda": record_on_gpu}
"""By type of device; on others every step is taken as usual."""
