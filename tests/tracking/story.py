"""Events of small studies, a second apart, so that a story is the same each time it is sent."""

import math
from typing import Any

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

T0 = 1_700_000_000.0


def begun(t: float = 0, attempt: int = 1) -> AttemptStarted:
    provenance = {
        "git_commit": "abc123",
        "data_fingerprint": "f00d",
        "user": "ada",
        "versions": {"ray": "2.60.0"},
    }
    return AttemptStarted(t=T0 + t, attempt=attempt, slots=2, trials=2, provenance=provenance)


def asked(trial: str, t: float = 1, lr: float = 0.01, layers: int = 4) -> list[Event]:
    config = {"optimizer_config.lr": lr, "net_config.layers": layers}
    return [
        TrialCreated(t=T0 + t, trial=trial, config=config, source="sampler"),
        TrialStarted(t=T0 + t, trial=trial, attempt=1),
    ]


def reported(trial: str, work: int, loss: float | None = None, **words: Any) -> EpochReported:
    loss = 1.0 / work if loss is None else loss
    values: dict[str, Any] = {
        "t": T0 + 10 * int(trial) + work,
        "generation": 0,
        "epoch": work,
        "metrics": {"val_loss": loss, "lr": 0.1},
        "decision": "continue",
    }
    return EpochReported(trial=trial, work=work, loss=loss, **values | words)


def ended(
    trial: str, t: float = 50, outcome: Any = "completed", reason: str = "all epochs", error: str = ""
) -> TrialEnded:
    return TrialEnded(t=T0 + t, trial=trial, outcome=outcome, reason=reason, error=error)


def closed(
    t: float = 90, exit_code: int = 0, reason: str = "all trials ended", attempt: int = 1
) -> AttemptEnded:
    return AttemptEnded(t=T0 + t, attempt=attempt, exit_code=exit_code, reason=reason)


def exploited(trial: str, donor: str, epoch: int, lr: float, generation: int = 1) -> TrialExploited:
    config = {"optimizer_config.lr": lr, "net_config.layers": 4}
    t = T0 + 10 * int(trial) + epoch + 0.5
    return TrialExploited(
        t=t, trial=trial, donor=donor, epoch=epoch, generation=generation, config=config, reason="bottom 25 %"
    )


def two_trials() -> list[Event]:
    """A whole study: one trial completes, one is stopped."""
    return [
        begun(),
        *asked("00000", 1),
        *asked("00001", 2, lr=0.1, layers=2),
        *[reported("00000", work) for work in (1, 2, 3)],
        *[reported("00001", work, loss=2.0 / work) for work in (1, 2)],
        ended("00001", 40, "stopped", "rank 2 of 2 at rung 2; top 1 goes on"),
        ended("00000", 50),
        closed(),
    ]


NAN, INF = math.nan, math.inf
