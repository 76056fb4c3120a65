"""Trials with curves of any shape, for findings and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raysweep.study.journal.events import Event
from tests.builders import epoch_reported, trial_created, trial_ended, trial_started
from tests.report import stories


def trial(
    number: int,
    val: Sequence[float],
    train: Sequence[float] | None = None,
    config: dict[str, Any] | None = None,
    outcome: str = "completed",
    **kwargs: Any,
) -> list[Any]:
    """A trial with these losses, one epoch per second; `raw` (val_loss_raw), `source`, `reason`."""
    name, t = f"{number:05d}", 1000.0 * number
    chosen = stories.config(number) if config is None else config
    events: list[Event] = [
        trial_created(name, chosen, t=t, source=kwargs.get("source", "sampler")),
        trial_started(name, t=t),
    ]
    for epoch, loss in enumerate(val, start=1):
        metrics = {"val_loss": loss} | ({} if train is None else {"train_loss": train[epoch - 1]})
        metrics |= {"val_loss_raw": kwargs["raw"][epoch - 1]} if "raw" in kwargs else {}
        events.append(epoch_reported(name, epoch, loss, t=t + epoch, metrics=metrics))
    return [*events, trial_ended(name, outcome, kwargs.get("reason", "as told"), t=t + len(val) + 1)]
