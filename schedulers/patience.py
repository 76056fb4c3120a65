"""Patience: a trial ends when it no longer improves on itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from schedulers.errors import InvalidSetting
from schedulers.rule import Continue, Decision, Objective, Report, Rule, Stop


class BestSoFar(NamedTuple):
    """A trial's best loss, and the epoch of it."""

    loss: float
    epoch: int


class PatienceRule(Rule):
    """End a trial that has not improved on its own best loss by `min_delta` for `patience` epochs.

    It ends as `completed`: nobody beat it, it has given what it had, and its loss is final. So a
    sampler takes it for a whole trial, unlike one that was stopped for being worse than others.
    (The run's own `early_stopping_config` does the same inside of the trainer, and can be used
    together with any other rule.)

    Args:
        max_resource: R, epochs of a whole trial.
        patience: epochs without improvement after which a trial ends.
        min_delta: what counts as improvement: a loss below the best by more than this, in its unit.
        grace_period: epochs that nobody is denied.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: if patience is below 1, or min_delta or grace_period is negative.
    """

    def __init__(
        self,
        *,
        max_resource: int,
        patience: int = 10,
        min_delta: float = 0.0,
        grace_period: int = 0,
        objective: Objective = "last",
    ) -> None:
        super().__init__(max_resource=max_resource, objective=objective)
        for name, value, least in (
            ("patience", patience, 1),
            ("min_delta", min_delta, 0),
            ("grace_period", grace_period, 0),
        ):
            if not value >= least:
                raise InvalidSetting(name, f"{name} ({value}) must be at least {least}")
        self.patience = patience
        self.min_delta = min_delta
        self.grace_period = grace_period
        self.best: dict[str, BestSoFar] = {}  # of the running trials

    def memory(self) -> tuple[str, ...]:
        """Each running trial's best loss and its epoch."""
        return (*super().memory(), "best")

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up `state`, whose records JSON may have made lists."""
        super().load(state)
        self.best = {trial: BestSoFar(*best) for trial, best in self.best.items()}

    def judge(self, report: Report) -> Decision:
        """Note an improvement, or count the epochs since the last one."""
        trial, loss = report.trial_id, report.loss
        assert loss is not None
        if trial not in self.best or loss < self.best[trial].loss - self.min_delta:
            self.best[trial] = BestSoFar(loss, report.resource)
            return Continue()
        best, since = self.best[trial]
        waited = report.resource - since
        if waited < self.patience or report.resource <= self.grace_period:
            return Continue()
        return Stop(
            f"no improvement on {self.format_value(best)} by {self.min_delta:g} for {waited} epochs, "
            f"since epoch {since}",
            "completed",
        )

    def next_judged(self, trial_id: str, resource: int) -> int:
        """Where its patience ends if it does not improve any more."""
        since = self.best[trial_id].epoch if trial_id in self.best else resource + 1
        return max(since + self.patience, self.grace_period + 1)

    def end(self, trial_id: str, ending: str) -> None:
        """It needs no patience any more."""
        super().end(trial_id, ending)
        self.best.pop(trial_id, None)
