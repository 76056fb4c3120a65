"""Hand-made studies for reports: a journal on disk, and the same as a subject."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from raysweep.config import Sweep
from raysweep.report.subject import Subject, of_study
from raysweep.study.journal.events import (
    AttemptEnded,
    AttemptStarted,
    EpochReported,
    Event,
    TrialCreated,
    TrialEnded,
    TrialExploited,
    TrialStarted,
)
from raysweep.study.journal.log import Journal
from raysweep.study.storage.layout import StudyFolder

LR, LAYERS = "optimizer_config.lr", "net_config.layers"
EPOCHS = 4
WORDS = ("sweeps/told.yaml", "--set", "seed=3")


def sweep(**kwargs: Any) -> Sweep:
    return Sweep.model_validate(
        {
            "study_name": "told",
            "trials": 12,
            "trial_scheduler": {"name": "schedulers.ClassicPFL"},
            "run": {"data": "trainables.data.load_digits", "net": "trainables.mlp.MLP", "epochs": EPOCHS},
            "search_space": {
                LR: {"type": "float", "min": 1e-3, "max": 1.0, "log": True},
                LAYERS: {"type": "int", "min": 1, "max": 6},
            },
            **kwargs,
        }
    )


def trial(number: int, loss: float, config: dict[str, Any], **kwargs: Any) -> list[Event]:
    """A trial that takes 2 s per epoch and ends at `loss`; `outcome`, `epochs`, `source`, `reason`."""
    name, t = f"{number:05d}", 10.0 * number
    epochs = kwargs.get("epochs", EPOCHS)
    events: list[Event] = [
        TrialCreated(t=t, trial=name, config=config, source=kwargs.get("source", "sampler")),
        TrialStarted(t=t, trial=name, attempt=1),
    ]
    for epoch in range(1, epochs + 1):
        value = loss + 0.1 * (epochs - epoch)
        events.append(
            EpochReported(
                t=t + 2 * epoch, trial=name, generation=0, epoch=epoch, work=epoch, loss=value,
                metrics={"val_loss": value, **kwargs.get("metrics", {})}, decision="continue",
            )
        )  # fmt: skip
    end = t + 2 * epochs
    outcome, reason = (
        kwargs.get("outcome", "completed"),
        kwargs.get("reason", f"finished all {epochs} epochs"),
    )
    return [*events, TrialEnded(t=end, trial=name, outcome=outcome, reason=reason)]


def config(number: int, layers: int | None = None) -> dict[str, Any]:
    """A fixed spread of configurations."""
    return {LR: 10 ** (-3 * ((number * 0.618) % 1.0)), LAYERS: layers or 1 + number % 6}


def loss_of(chosen: dict[str, Any]) -> float:
    return (math.log10(chosen[LR]) + 1.5) ** 2 + 0.05 * chosen[LAYERS] + 0.1


def some_trials(count: int = 12) -> list[Event]:
    """A baseline, then sampled ones; every third is stopped, one diverges, one fails."""
    events: list[Event] = []
    for number in range(count):
        chosen = config(number)
        fields: dict[str, Any] = {"source": "baseline" if number == 0 else "sampler"}
        if number % 3 == 2:
            fields |= {
                "outcome": "stopped",
                "epochs": 2,
                "reason": f"predicted final loss {number / 7} too high",
            }
        if number == 4:
            fields |= {"outcome": "diverged", "epochs": 1, "reason": "loss is nan at epoch 1"}
        if number == 7:
            fields |= {"outcome": "failed", "epochs": 0, "reason": "KeyError: 'no such column'"}
        events += trial(number, loss_of(chosen), chosen, **fields)
    return events


def population() -> list[Event]:
    """Two members with two epochs each; the second copies the first after its second epoch."""
    one, two = trial(0, 0.2, config(0)), trial(1, 0.9, config(1))
    new = {LR: 0.05, LAYERS: 3}
    copied = TrialExploited(
        t=14.5, trial="00001", donor="00000", epoch=2, generation=1, config=new, reason="bottom 25 %"
    )
    return [*one, *two[:4], copied, *two[4:]]


def write(root: Path, events: list[Event], wanted: Sweep | None = None) -> StudyFolder:
    folder = StudyFolder.create(root, "told", wanted or sweep(), "study_name: told\n", arguments=WORDS)
    journal = Journal(folder.journal_dir, "told")
    last = max((event.t for event in events), default=0.0)
    for event in [
        AttemptStarted(t=0.0, attempt=1, slots=2, trials=12),
        *events,
        AttemptEnded(t=last, attempt=1, exit_code=0, reason="all trials ended"),
    ]:
        journal.append(event)
    journal.close()
    return folder


def subject(root: Path, events: list[Event] | None = None, wanted: Sweep | None = None) -> Subject:
    return of_study(write(root, some_trials() if events is None else events, wanted))
