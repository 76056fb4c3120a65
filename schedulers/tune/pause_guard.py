"""Prevents pauses that lose a trial's work: without a checkpoint it starts again at its first epoch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial

from schedulers.reason import ReasonCode
from schedulers.rule import Continue, Decision, Exploit, Pause, Resume, Rule, Stop
from schedulers.tune import ray_private

logger = logging.getLogger(__name__)

REMEDY = (
    "from now on trials stop or go on, and none is paused or copied; to allow that, save checkpoints "
    "(`save_checkpoint` of a Trainable, `tune.report(..., checkpoint=...)` of a function) and restore them"
)


class PauseGuard:
    """Turns pausing off for good when it loses work.

    Args:
        rule: decides without pauses from then on.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.off = False
        self._paused: set[str] = set()

    def note_report(self, trial_id: str, resource: int) -> None:
        """Note a report, and turn pausing off if it is of epoch 1 after a pause."""
        if trial_id in self._paused:
            self._paused.discard(trial_id)
            if resource == 1 < self.rule.last_resource.get(trial_id, 0):
                self._turn_off(f"trial {trial_id} was paused and began again at epoch 1")

    def decide(self, trial: Trial, result: Mapping[str, Any], decision: Decision) -> Decision:
        """The rule's decision, or the one that replaces a pause that would lose work."""
        if not isinstance(decision, Pause | Exploit):
            return decision
        name = trial.trial_id
        if not self.off and ray_private.can_go_on(trial, result):
            self._paused.add(name)
            return decision
        self._turn_off(f"trial {name} has no checkpoint, and would begin again at epoch 1 after a pause")
        if isinstance(decision, Pause) and not decision.save:  # it has nothing to go on with
            self.rule.end(name, "diverged")
            return Stop(decision.reason, "diverged")
        reason = f"not paused, as it has no checkpoint ({decision.reason})"
        self.rule.resumed(Resume(name, reason, code=ReasonCode.NO_CHECKPOINT))
        return Continue(reason, code=ReasonCode.NO_CHECKPOINT)

    def _turn_off(self, cause: str) -> None:
        if not self.off:
            self.off = True
            self.rule.cannot_pause()
            logger.warning("%s: %s", cause, REMEDY)
