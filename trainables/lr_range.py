"""Smith's range test: one short training in which the learning rate rises from step to step.

Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, arXiv:1506.01186, section 3.3. Unlike
there, the rate rises exponentially, and the loss is not that of each step's batch but of the same few
training rows after every step, with the same dropout, so that it changes only by what the step did. It is
computed with the trained weights, not with an optimizer's average of them (SPlus, schedule-free), which
lags behind by hundreds of steps and hides a divergence.
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
    """The loss after a step at each of `rates`, in their order; fewer if training diverged.

    Args:
        run: what to train; its learning rate, schedule and warm-up are ignored.
        data: its first part is trained on.
        rates: one for each optimizer step.
        device: where; None for a GPU if there is one.
        seed: of weights, dropout and data order; the first of `run.seeds` if None.

    Raises:
        RunError: if the run config cannot be built, or has a custom loop.
    """
    if run.train is not None:
        raise RunError(f"train: {run.train} is a loop of its own: its learning rate cannot be raised by step")
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    seed = run.seeds[0] if seed is None else seed
    plain = run.model_copy(update={"scheduler": None, "scheduler_config": {}, "warmup": 0.0, "schedule": ()})
    with _one_thread(), RngState(seed, chosen).own():
        learner = RisingLearner(plain, data, data.parts[0], chosen, seed)
        return list(itertools.takewhile(math.isfinite, learner.rise(rates)))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread within the block, as a trial does: small nets gain nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class RisingLearner(Learner):
    """A learner whose learning rate is set for every step."""

    def rise(self, rates: Sequence[float]) -> Iterator[float]:
        """Take a step at each rate, and yield the loss on the probe after it; ends after a NaN.

        Args:
            rates: set for all parameter groups.
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
            except LINALG_ERROR:  # overflown gradients cannot be decomposed
                yield math.nan
                return
            yield self._probe_loss(*probe)

    def _step(self, batches: Sequence[Batch]) -> None:
        self.gradients(batches)
        if self.run.grad_clip is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.run.grad_clip)
        self.step(batches)

    @torch.no_grad()
    def _probe_loss(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """The loss in training mode: batch norm by the rows' own statistics, always the same dropout."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(0)
            return float(self._loss(x, y))
