"""Weights that go from one trial to another: who has yet to copy whom, and how it is done."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from ray.tune import Checkpoint
from ray.tune.experiment import Trial
from ray.tune.result import TRAINING_ITERATION

from schedulers import ray_private
from schedulers.nested import overlay
from schedulers.rule import Exploit, Resume, Rule
from schedulers.tune.connections import Connections

logger = logging.getLogger(__name__)


class Copies:
    """The copies that are ordered and not yet made. A trial that is to copy waits, paused.

    Args:
        rule: is told what was done.
        service: its listener is told, and finds checkpoints that Ray does not know.
        time_attr: key of a checkpoint's epoch.
    """

    def __init__(self, rule: Rule, service: Connections, time_attr: str) -> None:
        self.rule, self.service, self.time_attr = rule, service, time_attr
        self._orders: dict[str, Exploit] = {}

    def __iter__(self) -> Iterator[str]:
        """The trials that have yet to copy."""
        return iter(self._orders)

    def order(self, trial_id: str, exploit: Exploit) -> None:
        """Have a trial copy another, once it is paused and the donor's checkpoint stands."""
        self._orders[trial_id] = exploit

    def forget(self, trial_id: str) -> None:
        """Have it copy nobody."""
        self._orders.pop(trial_id, None)

    def next(self, controller: Any, live: Mapping[str, Trial]) -> Trial | None:
        """Make the first copy that can be made, and name the trial, ready to run."""
        for name in list(self._orders):
            trial = live.get(name)
            if trial is None:
                del self._orders[name]
            elif trial.status == Trial.PAUSED and self.make(controller, trial):
                return trial
        return None

    def make(self, controller: Any, trial: Trial) -> bool:
        """Put the donor's checkpoint and the new configuration in place; False: not there yet."""
        exploit = self._orders[trial.trial_id]
        donor = next((t for t in controller.get_trials() if t.trial_id == exploit.donor), None)
        found = self._checkpoint_of(donor, exploit)
        exact = found is not None and found.epoch == exploit.resource
        if not exact and donor is not None and self._is_on_its_way(donor, exploit.resource):
            return False
        del self._orders[trial.trial_id]
        if found is None:
            reason = f"trial {exploit.donor} has no checkpoint to copy; goes on from its own"
            logger.warning("trial %s: %s", trial.trial_id, reason)
            self.rule.resumed(Resume(trial.trial_id, reason))
            self.service.listener.resumed(Resume(trial.trial_id, reason))
            return True
        trial.set_config(overlay(trial.config, exploit.config, self.rule.parameters))
        ray_private.start_from(trial, found)
        self.rule.resumed(Resume(trial.trial_id, exploit.reason, exploit))
        self.service.listener.exploited(trial.trial_id, exploit)
        return True

    def _checkpoint_of(self, donor: Trial | None, exploit: Exploit) -> ray_private.Saved | None:
        """The donor's checkpoint at the resource; failing that, its last one before."""
        resource, find = exploit.resource, self.service.find_checkpoint
        known = ray_private.last_checkpoint(donor, self.time_attr, resource) if donor else None
        lacking = known is None or known.epoch < resource
        path = find(exploit.donor, resource) if lacking and find else None
        if path is None:
            return known
        metrics = {TRAINING_ITERATION: resource, self.time_attr: resource}
        return ray_private.Saved(resource, Checkpoint(path), metrics)

    def _is_on_its_way(self, donor: Trial, resource: int) -> bool:
        """Whether the donor's checkpoint is being saved, or the donor is run again up to it."""
        if donor.is_saving or donor.status == Trial.PENDING:
            return True
        return bool(donor.status == Trial.RUNNING and donor.last_result.get(self.time_attr, 0) < resource)
