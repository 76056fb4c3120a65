"""What tests are made of: the events of small studies, and a small sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raysweep.config import Sweep
from raysweep.study.journal.events import EpochReported, Event, TrialCreated, TrialEnded, TrialStarted

LR = "optimizer_config.lr"


def trial_created(trial: str, config: Mapping[str, Any] | None = None, **fields: Any) -> TrialCreated:
    return TrialCreated(**{"t": 0.0, "trial": trial, "config": config or {}, "source": "sampler", **fields})


def trial_started(trial: str, **fields: Any) -> TrialStarted:
    return TrialStarted(**{"t": 0.0, "trial": trial, "attempt": 1, **fields})


def epoch_reported(trial: str, epoch: int, loss: float | None, **fields: Any) -> EpochReported:
    """An epoch after which the trial goes on, without a metric but its loss."""
    plain = {"t": 0.0, "generation": 0, "work": epoch, "metrics": {}, "decision": "continue"}
    return EpochReported(**{"trial": trial, "epoch": epoch, "loss": loss, **plain, **fields})


def trial_ended(trial: str, outcome: str = "completed", reason: str = "", **fields: Any) -> TrialEnded:
    return TrialEnded(**{"t": 0.0, "trial": trial, "outcome": outcome, "reason": reason, **fields})


def trained(
    trial: str, losses: Sequence[float | None], config: Mapping[str, Any] | None = None
) -> list[Event]:
    """A trial that runs and has reported these losses, one an epoch; at a rate of 0.1 unless told."""
    epochs = [epoch_reported(trial, epoch, loss) for epoch, loss in enumerate(losses, start=1)]
    return [trial_created(trial, {LR: 0.1} if config is None else config), trial_started(trial), *epochs]


def small_sweep(trials: int = 6, epochs: int = 6, **words: Any) -> Sweep:
    """A sweep over the learning rate of a net for digits; words of the file go over it."""
    return Sweep.model_validate(
        {
            "study_name": "small",
            "trials": trials,
            "run": {"data": "trainables.data.load_digits", "epochs": epochs, "optimizer_config": {"lr": 0.1}},
            "search_space": {LR: {"type": "float", "min": 1e-3, "max": 1.0, "log": True}},
            **words,
        }
    )
