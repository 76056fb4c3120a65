"""How far a trial may train before its rule has to be asked again.

A rule decides at few of a trial's epochs (`Rule.next_decision`). Where the service lets it
(`AdapterHooks.ahead_s`), a trial trains up to the next of these and hands all its epochs over in one answer;
each is reported as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial

from schedulers.rule import Rule
from schedulers.tune.hooks import AdapterHooks

FOLLOWED = "followed"
"""Key of each result that is not the last of those its trial hands over together."""


class TrainAhead:
    """Knows where each trial stands that goes on training, and so how far it may go.

    Args:
        rule: says where it must be asked.
        service: says for how long a trial may train on, and whether the run is to end.
    """

    def __init__(self, rule: Rule, service: AdapterHooks) -> None:
        self.rule, self.service = rule, service
        self._stands_at: dict[str, int] = {}  # trial that trains on -> its resource

    def goes_on(self, trial_id: str, resource: int) -> None:
        """The trial trains on from the result that was just reported."""
        self._stands_at[trial_id] = resource

    def forget(self, trial_id: str) -> None:
        """The trial does not train on from where it stood: it waits, has ended, or lost its worker."""
        self._stands_at.pop(trial_id, None)

    def limits(self, trial: Trial) -> tuple[int, float]:
        """How many epochs the trial may train before it answers, and for how many seconds.

        One epoch where it is not known which one the trial begins at: after a restore, only its first
        report tells.
        """
        name = trial.trial_id
        stands_at = self._stands_at.pop(name, None)
        if (
            stands_at is None
            and name not in self.rule.last_resource
            and trial.latest_checkpoint_result is None
        ):
            stands_at = 0
        if stands_at is None or self.service.halting():
            return 1, 0.0
        return self.rule.next_decision(name, stands_at) - stands_at, self.service.ahead_s


def is_followed(result: Mapping[str, Any]) -> bool:
    """Whether later epochs of the trial came together with this one."""
    return bool(result.get(FOLLOWED))
