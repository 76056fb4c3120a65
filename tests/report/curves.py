"""Trials with curves of any shape, for findings and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raysweep.study.journal.events import EpochReported, Event, TrialCreated, TrialEnded, TrialStarted
from tests.report import stories


def trial(
    number: int,
    val: Sequence[float],
    train: Sequence[float] | None = None,
    config: dict[str, Any] | None = None,
    outcome: str = "completed",
    **words: Any,
) -> list[Any]:
    """A trial with these losses, an epoch a second; `raw` (val_loss_raw), `source`, `reason`."""
    name, t = f"{number:05d}", 1000.0 * number
    chosen = stories.config(number) if config is None else config
    told: list[Event] = [
        TrialCreated(t=t, trial=name, config=chosen, source=words.get("source", "sampler")),
        TrialStarted(t=t, trial=name, attempt=1),
    ]
    for epoch, loss in enumerate(val, start=1):
        metrics = {"val_loss": loss} | ({} if train is None else {"train_loss": train[epoch - 1]})
        metrics |= {"val_loss_raw": words["raw"][epoch - 1]} if "raw" in words else {}
        told.append(
            EpochReported(
                t=t + epoch, trial=name, generation=0, epoch=epoch, work=epoch, loss=loss,
                metrics=metrics, decision="continue",
            )
        )  # fmt: skip
    return [
        *told,
        TrialEnded(t=t + len(val) + 1, trial=name, outcome=outcome, reason=words.get("reason", "as told")),  # type: ignore[arg-type]
    ]
