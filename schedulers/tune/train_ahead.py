"""How far a trial may train before its rule has to decide again.

A rule decides at few of a trial's epochs (`Rule.next_decision`). Where the service allows it
(`AdapterHooks.ahead_s`), a trial trains up to the next of these and returns all its epochs together;
each is reported as usual.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial

from schedulers.rule import Rule
from schedulers.tune.hooks import AdapterHooks

FOLLOWED = "followed"
"""Key that marks results which are not the last of those returned together."""


class TrainAhead:
    """Tracks the epoch from which each trial goes on, and limits how far it may train.

    Args:
        rule: gives the next epoch at which it may decide.
        service: gives the time limit, and whether the run is asked to stop.
    """

    def __init__(self, rule: Rule, service: AdapterHooks) -> None:
        self.rule, self.service = rule, service
        self._trained: dict[str, int] = {}  # trial that trains on -> epochs trained

    def note_trained(self, trial_id: str, resource: int) -> None:
        """Note that the trial trains on from the result just reported."""
        self._trained[trial_id] = resource

    def forget(self, trial_id: str) -> None:
        """Note that the trial does not train on: it waits, has ended, or lost its worker."""
        self._trained.pop(trial_id, None)

    def limits(self, trial: Trial) -> tuple[int, float]:
        """The number of epochs, and of seconds, that the trial may train before it answers.

        One epoch if the epoch from which it goes on is unknown: after a restore, only its first report
        tells.
        """
        name = trial.trial_id
        trained = self._trained.pop(name, None)
        if trained is None and name not in self.rule.last_resource and trial.latest_checkpoint_result is None:
            trained = 0
        if trained is None or self.service.halting():
            return 1, 0.0
        return self.rule.next_decision(name, trained) - trained, self.service.ahead_s


def is_followed(result: Mapping[str, Any]) -> bool:
    """Whether later epochs of the trial were returned together with this one."""
    return bool(result.get(FOLLOWED))
