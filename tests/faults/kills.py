"""Studies whose drivers are killed, and where: at seeded moments of what is still to come."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raysweep.study.journal.events import (
    CheckpointSaved,
    EpochReported,
    Event,
    TrialCreated,
    TrialEnded,
    TrialExploited,
    TrialPromoted,
    TrialStarted,
)
from tests.faults.driver import ended, events, said, start, store_of
from tests.faults.mortal import WHENS

SWEEP = """
study_name: {name}
trials: {trials}
seed: 3
sampler: {{name: optuna.samplers.TPESampler, kwargs: {{n_startup_trials: 3}}}}
trial_scheduler: {scheduler}
max_concurrent_trials: 1
run:
  project: faults
  data: trainables.data.load_digits
  criterion: torch.nn.CrossEntropyLoss
  optimizer: torch.optim.SGD
  scheduler: null
  epochs: 8
  batch_size: 64
  net_config: {{layers: 2, dropout: 0.1}}
  optimizer_config: {{lr: 1e-1}}
  checkpoint_config: {{enabled: true, save_every_n_epochs: 3}}
search_space:
  optimizer_config: {{lr: {{type: float, min: 1e-4, max: 1.0, log: true}}}}
"""
SCHEDULERS = {
    "fifo": "{name: schedulers.FIFO}",
    "asha": "{name: schedulers.ASHA, kwargs: {grace_period: 1, reduction_factor: 2, variant: promotion}}",
    "pbt": "{name: schedulers.PBT, kwargs: {perturbation_interval: 2}}",
    "predictive": "{name: schedulers.PFL, kwargs: {min_finished: 2}}",
    "pfl": "{name: schedulers.ClassicPFL, kwargs: {n_startup_trials: 2, n_warmup_epochs: 2, top_k: 2}}",
}
FIRST = {
    "fifo": "checkpointed",
    "asha": "promoted",
    "pbt": "exploited",
    "predictive": "paused",  # nobody ends before all trials are there
    "pfl": "trial_ended",
}
"""The event at which each one's driver is killed first: what is its own."""
KINDS = (
    TrialCreated,
    TrialStarted,
    EpochReported,
    CheckpointSaved,
    TrialExploited,
    TrialPromoted,
    TrialEnded,
)


def write_two(folder: Path, scheduler: str, trials: int = 6) -> None:
    """The same sweep under two names: `whole` is left alone, `cut` is not."""
    for name in ("whole", "cut"):
        text = SWEEP.format(name=name, trials=trials, scheduler=SCHEDULERS[scheduler])
        (folder / f"{name}.yaml").write_text(text)


def kill(folder: Path, words: tuple[str, ...], kind: str, nth: int, when: str) -> None:
    """Run a command of `cut` whose driver is killed there; it must not have ended before."""
    program = ("-m", "tests.faults.mortal", kind, str(nth), when)
    process = start(folder, *words, program=program, store=store_of(folder))
    code = ended(process, folder)
    assert code == -signal.SIGKILL, f"{kind} {nth} {when}: exit code {code}\n{said(folder)}"


def kill_again(folder: Path, times: int, draw: random.Random) -> None:
    """Resume `cut` so often, each time to be killed at an event that `whole` had and it has not."""
    for left in range(times, 0, -1):
        ahead = lacking(folder)
        near = ahead[: max(1, len(ahead) // (left + 1))]  # a driver goes on a little before it dies
        kind = draw.choice(sorted({type(event) for event in near}, key=lambda kind: kind.kind))
        event = draw.choice([event for event in near if type(event) is kind])
        nth = 1 + [each for each in ahead if type(each) is kind].index(event)
        kill(folder, ("resume", "cut"), kind.kind, nth, draw.choice(WHENS))


def lacking(folder: Path) -> Sequence[Event]:
    """The events of `whole` after the last one that `cut` has, in order, that are sure to come.

    The checkpoint of an epoch that `cut` has is not: a trial that paused or ended there is not run again to
    save it. Nor is there time to kill a driver between the ends of all trials that wait, in one burst.
    """
    whole, cut = (
        [event for event in events(folder / "runs" / study) if isinstance(event, KINDS)]
        for study in ("whole", "cut")
    )
    known = {_key(event) for event in cut}
    reached = max((place for place, event in enumerate(whole, 1) if _key(event) in known), default=0)
    reported = {(event.trial, event.epoch) for event in cut if isinstance(event, EpochReported)}
    ahead = [
        event
        for event in whole[reached:]
        if not (isinstance(event, CheckpointSaved) and (event.trial, event.epoch) in reported)
    ]
    while ahead and isinstance(ahead[-1], TrialEnded):
        ahead.pop()
    return ahead


def _key(event: Any) -> tuple[str, str, int, int]:
    """What tells an event from others of its kind; written once more after a kill it has the same."""
    return (
        event.kind,
        event.trial,
        getattr(event, "generation", 0),
        getattr(event, "epoch", 0),
    )
