"""Smith's range test: one short training in which the learning rate rises from step to step.

Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, arXiv:1506.01186, section 3.3. What
departs from it: the rate rises exponentially, and the loss is not that of each step's batch but of the same
few training rows after every step, under the same dropout; so it moves by what the step did, and by nothing
else. Those rows are answered with the weights that are trained, never with an optimizer's own average of
them (SPlus, schedule-free), which lags behind by hundreds of steps and hides a divergence until it is late.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from trainables.batches import Batch
from trainables.data import Data
from trainables.learner import LINALG_ERROR, Learner
from trainables.rng_state import RngState
from trainables.run_config import RunConfig, RunError

PROBE_ROWS = 1024


def rate_test(
    run: RunConfig,
    data: Data,
    rates: Sequence[float],
    *,
    device: torch.device | str | None = None,
    seed: int | None = None,
) -> list[float]:
    """The loss after a step at each of `rates`, in their order; shorter where training diverged.

    Args:
        run: what to train; its learning rate, schedule and warm-up have no say here.
        data: its first part is trained on.
        rates: one for each optimizer step.
        device: where; None for a GPU if there is one.
        seed: of weights, dropout and data order; the first of `run.seeds` if None.

    Raises:
        RunError: if the run config asks for what cannot be built, or trains in a loop of its own.
    """
    if run.train is not None:
        raise RunError(f"train: {run.train} is a loop of its own: its learning rate cannot be raised by step")
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    seed = run.seeds[0] if seed is None else seed
    plain = run.model_copy(update={"scheduler": None, "scheduler_config": {}, "warmup": 0.0, "schedule": ()})
    with _one_thread(), RngState(seed, place).own():
        learner = RisingLearner(plain, data, data.parts[0], place, seed)
        return list(itertools.takewhile(math.isfinite, learner.rise(rates)))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """As a trial has it: small nets gain nothing from more, and lose much where cores are taken."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class RisingLearner(Learner):
    """A learner whose rate is set anew for every step."""

    def rise(self, rates: Sequence[float]) -> Iterator[float]:
        """Take a step at each rate, and say what the loss on the probe is after it; NaN ends it.

        Args:
            rates: for all parameter groups alike.
        """
        epochs = (self.steps_of(self.feed.batches()) for _ in itertools.count())
        steps = itertools.chain.from_iterable(epochs)
        probe = self.feed.probe(PROBE_ROWS)
        self.net.train()
        for rate, batches in zip(rates, steps, strict=False):
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            try:
                self._step(batches)
            except LINALG_ERROR:  # what has overflown cannot be decomposed
                yield math.nan
                return
            yield self._probed(*probe)

    def _step(self, batches: Sequence[Batch]) -> None:
        self.gradients(batches)
        if self.run.grad_clip is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.run.grad_clip)
        self.step(batches)

    @torch.no_grad()
    def _probed(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """The loss in training mode: batch norm by the rows' own statistics, dropout always the same."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(0)
            return float(self._loss(x, y))
