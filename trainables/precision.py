"""The precision in which torch computes, and the scaling of losses for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from trainables.run_config import Precision, RunConfig, RunError

AUTOCAST: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def apply_arithmetic(run: RunConfig) -> None:
    """Set precision and determinism of the process, as part of a trial's `ProcessState`."""
    if run.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    if run.precision == "tf32":
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]  # an instance's
        torch.backends.cudnn.rnn.fp32_precision = "tf32"  # type: ignore[attr-defined]


@contextlib.contextmanager
def autocast(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute in the run's precision within the block."""
    dtype = AUTOCAST.get(precision)
    if dtype is None:
        yield
        return
    with torch.autocast(device.type, dtype):
        yield


class LossScaler:
    """Keeps small gradients from vanishing in `fp16`; without effect in every other precision.

    A step whose gradients have overflown is skipped, and the next losses are scaled less.

    Args:
        run: its precision is used.
        device: the device of the net.
        closure: whether the optimizer computes the loss again within its step.

    Raises:
        RunError: for `fp16` with such an optimizer.
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
        """Undo the scaling of the gradients, before they are read."""
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
        """The scale and its history; empty if losses are not scaled."""
        return dict(self._scaler.state_dict())

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a saved scale; a checkpoint of another precision has none."""
        if state and self._scaler.is_enabled():
            self._scaler.load_state_dict(state)
