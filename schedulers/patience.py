"""Patience: a trial ends when it no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from schedulers.errors import require_at_least
from schedulers.rule import Continue, Decision, Objective, Report, Rule, Stop


class BestSoFar(NamedTuple):
    """A trial's best loss and its epoch."""

    loss: float
    epoch: int


class PatienceRule(Rule):
    """End a trial that has not improved on its own best loss by `min_delta` for `patience` epochs.

    It ends as `completed`: its loss is taken as final, so a sampler treats it as a whole trial, unlike
    one that was stopped for being worse than others. (The run config's `early_stopping_config` does the
    same in the trainer, and can be combined with any other rule.)

    Args:
        max_resource: R, epochs of a whole trial.
        patience: epochs without improvement after which a trial ends.
        min_delta: an improvement is a loss below the best by more than this, in the loss's unit.
        grace_period: epochs that every trial may run.
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
        require_at_least(1, patience=patience)
        require_at_least(0, min_delta=min_delta, grace_period=grace_period)
        self.patience = patience
        self.min_delta = min_delta
        self.grace_period = grace_period
        self.best: dict[str, BestSoFar] = {}  # running trial -> its best

    def memory(self) -> tuple[str, ...]:
        """Also each running trial's best loss and its epoch."""
        return (*super().memory(), "best")

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore `state`, in which JSON may have turned the named tuples into lists."""
        super().load(state)
        self.best = {trial: BestSoFar(*best) for trial, best in self.best.items()}

    def judge(self, report: Report) -> Decision:
        """Note an improvement, or stop if the last one is too long ago."""
        trial, loss = report.trial_id, report.loss
        assert loss is not None
        if trial not in self.best or loss < self.best[trial].loss - self.min_delta:
            self.best[trial] = BestSoFar(loss, report.resource)
            return Continue()
        best, since = self.best[trial]
        epochs = report.resource - since
        if epochs < self.patience or report.resource <= self.grace_period:
            return Continue()
        return Stop(
            f"no improvement on {self.format_value(best)} by {self.min_delta:g} for {epochs} epochs, "
            f"since epoch {since}",
            "completed",
        )

    def next_judged(self, trial_id: str, resource: int) -> int:
        """The epoch at which the trial ends if it does not improve before."""
        since = self.best[trial_id].epoch if trial_id in self.best else resource + 1
        return max(since + self.patience, self.grace_period + 1)

    def end(self, trial_id: str, ending: str) -> None:
        """Record the end, and drop the trial's best."""
        super().end(trial_id, ending)
        self.best.pop(trial_id, None)
