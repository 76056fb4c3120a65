"""The result of a dry run of a configuration. Imports no torch, as the driver reads it."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.error_text import few


@dataclass(frozen=True, slots=True)
class DryRunReport:
    """The result of a configuration's first two epochs (one, if the run has no more).

    Attributes:
        outcome: "ran", or how it ended: "failed", "oom", "diverged", "slow" (it exceeded its time limit).
        reason: why it ended, in one line; empty if it ran.
        epoch_s: seconds of the last epoch; the first is slower, as libraries are loaded.
        train_losses: of each epoch.
        val_losses: of each epoch.
        memory_mb: peak memory of the process, or of its GPU if it has one, MiB.
        gpu_mb: memory of the whole GPU, MiB; 0 without one.
        gpu_busy: percent of the time in which the GPU ran a kernel, of any process, late in the last epoch;
            None without a GPU, or if the epoch was shorter than its driver looks back.
        checkpoint_mb: size of a checkpoint, MiB.
        parameters: trained numbers in the net; 0 for a custom loop.
        tensors: trained tensors in the net.
        unreached: names of parameters that no gradient reaches.
        not_finite: names of parameters whose gradient is not finite.
        doubt: what looks wrong with the net's outputs; empty if nothing does.
        still: whether an optimizer step leaves every parameter unchanged.
        restored: whether the second epoch is the same to the last bit from a checkpoint; None if not tried.
    """

    outcome: str
    reason: str = ""
    epoch_s: float = 0.0
    train_losses: tuple[float, ...] = ()
    val_losses: tuple[float, ...] = ()
    memory_mb: float = 0.0
    gpu_mb: float = 0.0
    gpu_busy: float | None = None
    checkpoint_mb: float = 0.0
    parameters: int = 0
    tensors: int = 0
    unreached: tuple[str, ...] = ()
    not_finite: tuple[str, ...] = ()
    doubt: str = ""
    still: bool = False
    restored: bool | None = None

    def faults(self) -> list[tuple[str, str, str]]:
        """What is wrong with gradients and step: (subject, message, fix)."""
        faults = []
        if self.unreached and len(self.unreached) == self.tensors:
            fix = "does the net detach what it computes, or return something else?"
            faults.append(("gradients", f"none reaches any parameter: {few(self.unreached, 3)}", fix))
        if self.not_finite:
            fix = "look at the data's scale, the net and the criterion"
            faults.append(("gradients", f"not finite: {few(self.not_finite, 3)}", fix))
        if self.still:
            faults.append(("optimizer", "a step changes no parameter", "is its rate 0?"))
        return faults

    def notes(self) -> list[tuple[str, str, str]]:
        """What is unusual, but may be intended: (subject, message, advice)."""
        notes = []
        if self.unreached and len(self.unreached) < self.tensors:
            message = f"none reached {few(self.unreached, 3)} in this batch"
            notes.append(
                ("gradients", message, "meant so for layer drop and unused heads; else look at the net")
            )
        if self.doubt:
            notes.append(("outputs", self.doubt, ""))
        return notes

    @property
    def learns(self) -> bool | None:
        """Whether the training loss falls; None if there was no second epoch."""
        return self.train_losses[1] < self.train_losses[0] if len(self.train_losses) > 1 else None
