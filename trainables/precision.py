"""The arithmetic of a training: what torch computes in, and how losses are scaled for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from trainables.run_config import Precision, RunConfig, RunError

AUTOCAST: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def apply_arithmetic(run: RunConfig) -> None:
    """Set what a process computes in, for the trial whose state this is (`trainables.process_state`)."""
    if run.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    if run.precision == "tf32":
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]  # an instance's
        torch.backends.cudnn.rnn.fp32_precision = "tf32"  # type: ignore[attr-defined]


@contextlib.contextmanager
def autocast(precision: Precision, device: torch.device) -> Iterator[None]:
    """Within this block a net computes in the run's precision."""
    dtype = AUTOCAST.get(precision)
    if dtype is None:
        yield
        return
    with torch.autocast(device.type, dtype):
        yield


class LossScaler:
    """Keeps small gradients from vanishing in `fp16`; in every other precision it changes nothing.

    A step whose gradients have overflown is left out, and the next losses are scaled less.

    Args:
        run: says the precision.
        device: where the net lives.
        closure: whether the optimizer computes the loss anew within its step.

    Raises:
        RunError: if such an optimizer is to train in `fp16`.
    """

    def __init__(self, run: RunConfig, device: torch.device, *, closure: bool) -> None:
        if run.precision == "fp16" and closure:
            raise RunError(
                f"precision: fp16 scales the loss once a step, and {run.optimizer} computes it several times"
                "; use bf16"
            )
        self._scaler = torch.amp.GradScaler(device.type, enabled=run.precision == "fp16")

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of a loss, scaled."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the gradients their true size, before one looks at them."""
        if self._scaler.is_enabled():
            self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer take its step, unless the gradients have overflown."""
        if not self._scaler.is_enabled():
            optimizer.step()
            return
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, float]:
        """The scale and its history; empty where nothing is scaled."""
        return dict(self._scaler.state_dict())

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a saved scale; a checkpoint of another precision has none."""
        if state and self._scaler.is_enabled():
            self._scaler.load_state_dict(state)
