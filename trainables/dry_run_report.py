"""What a dry run of a configuration found. Knows no torch: the driver reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DryRunReport:
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
        tensors: how many parameters those are in.
        unreached: names of parameters that no gradient reaches.
        not_finite: names of parameters whose gradient is not finite.
        doubt: what looks odd about the net's outputs; empty if nothing does.
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
    tensors: int = 0
    unreached: tuple[str, ...] = ()
    not_finite: tuple[str, ...] = ()
    doubt: str = ""
    still: bool = False
    restored: bool | None = None

    def faults(self) -> list[tuple[str, str, str]]:
        """What is wrong with its gradients and its step: (what was looked at, how it is, how to fix it)."""
        found = []
        if self.unreached and len(self.unreached) == self.tensors:
            fix = "does the net detach what it computes, or return something else?"
            found.append(("gradients", f"none reaches any parameter: {_few(self.unreached)}", fix))
        if self.not_finite:
            fix = "look at the data's scale, the net and the criterion"
            found.append(("gradients", f"not finite: {_few(self.not_finite)}", fix))
        if self.still:
            found.append(("optimizer", "a step changes no parameter", "is its rate 0?"))
        return found

    def notes(self) -> list[tuple[str, str, str]]:
        """What is odd, and may be meant so: (what was looked at, how it is, what to do)."""
        found = []
        if self.unreached and len(self.unreached) < self.tensors:
            message = f"none reached {_few(self.unreached)} in this batch"
            found.append(
                ("gradients", message, "meant so for layer drop and unused heads; else look at the net")
            )
        if self.doubt:
            found.append(("outputs", self.doubt, ""))
        return found

    @property
    def learns(self) -> bool | None:
        """Whether the loss on what is trained on falls; None if there was no second epoch."""
        return self.train_losses[1] < self.train_losses[0] if len(self.train_losses) > 1 else None


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
