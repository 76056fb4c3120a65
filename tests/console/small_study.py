"""Events of small studies, built by hand."""

from __future__ import annotations

from typing import Any

from raysweep.study.journal.events import EpochReported, TrialCreated, TrialEnded, TrialStarted

LR = "optimizer_config.lr"


def asked(trial: str, lr: float = 0.1) -> TrialCreated:
    return TrialCreated(t=0.0, trial=trial, config={LR: lr}, source="sampler")


def reported(trial: str, epoch: int, loss: float) -> EpochReported:
    return EpochReported(
        t=0.0, trial=trial, generation=0, epoch=epoch, work=epoch, loss=loss, metrics={}, decision="continue"
    )


def trained(trial: str, losses: Any, lr: float = 0.1) -> Any:
    """The events of a trial that runs and has reported `losses`."""
    reports = [reported(trial, epoch, loss) for epoch, loss in enumerate(losses, start=1)]
    return [asked(trial, lr), TrialStarted(t=0.0, trial=trial, attempt=1), *reports]


def ended(trial: str, outcome: str, reason: str = "") -> TrialEnded:
    return TrialEnded(t=0.0, trial=trial, outcome=outcome, reason=reason)  # type: ignore[arg-type]
