"""The median stopping rule.

Golovin, Solnik, Moitra, Kochanski, Karro, Sculley: "Google Vizier: A Service for Black-Box
Optimization", KDD 2017, section 3.2.2.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Mapping
from typing import Any, NamedTuple

from schedulers.errors import InvalidSetting, require_at_least
from schedulers.rule import Continue, Decision, Objective, Report, Rule, Stop


class RunningLoss(NamedTuple):
    """A running trial's losses so far.

    Attributes:
        reports: number of reports.
        total: sum of the losses.
        best: lowest loss.
        last: resource of the last report.
    """

    reports: int = 0
    total: float = 0.0
    best: float = math.inf
    last: int = 0


class MedianStoppingRule(Rule):
    """Stop a trial whose best loss so far is worse than the median of the others' running averages.

    At step s the trial's best loss up to s is compared with the others' losses averaged up to s. A
    falling curve is below its average, so only trials that clearly lag behind are stopped.

    The paper averages over completed trials. Here all trials that reached s count, whether they went on
    or not: completed trials are survivors, so their median grows ever stricter, and where many trials
    run at once none completes in time. A diverged trial counts as infinitely bad from its last step on.
    A trial that does not report every epoch is judged at the latest step it has passed, and counts at
    the skipped ones with the average it had.

    Averages are not ranks: under the logarithm of a loss decisions may differ.

    Args:
        max_resource: R, epochs of a whole trial.
        n_startup_trials: other trials that must have reached a step before a trial is judged there.
        n_warmup_steps: epochs of each trial in which it is not judged; a fifth of R if None.
        interval_steps: epochs between two judgements of a trial.
        objective: what a trial is worth: its `last` loss or its `best` so far; averages are of that.

    Raises:
        ValueError: if a count is negative, or the rule could never judge a trial.
    """

    def __init__(
        self,
        *,
        max_resource: int,
        n_startup_trials: int = 5,
        n_warmup_steps: int | None = None,
        interval_steps: int = 1,
        objective: Objective = "last",
    ) -> None:
        super().__init__(max_resource=max_resource, objective=objective)
        warmup = max_resource // 5 if n_warmup_steps is None else n_warmup_steps
        require_at_least(0, n_warmup_steps=warmup)
        require_at_least(1, n_startup_trials=n_startup_trials, interval_steps=interval_steps)
        if n_warmup_steps is not None and n_warmup_steps >= max_resource:
            raise InvalidSetting(
                "n_warmup_steps",
                f"n_warmup_steps ({n_warmup_steps}) must be below the epochs ({max_resource}), "
                "else no trial is ever judged",
                "lower it",
            )
        self.n_startup_trials = n_startup_trials
        self.steps = range(warmup + 1, max_resource, interval_steps)
        self.sums: dict[str, RunningLoss] = {}
        self.averages: dict[str, list[float]] = {}  # step -> running averages up to it, ascending
        self.diverged_at: list[int] = []  # ascending

    def memory(self) -> tuple[str, ...]:
        """Also the sums of running trials, and the averages and divergences by step."""
        return (*super().memory(), "sums", "averages", "diverged_at")

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore `state`, in which JSON may have turned the named tuples into lists."""
        super().load(state)
        self.sums = {trial: RunningLoss(*sums) for trial, sums in self.sums.items()}

    def judge(self, report: Report) -> Decision:
        """Compare at the latest step passed since the last report, then record this trial's averages."""
        trial, loss = report.trial_id, report.loss
        assert loss is not None
        n, total, best, last = self.sums.get(trial, RunningLoss())
        best = min(best, loss)
        passed = [step for step in self.steps if last < step <= report.resource]
        decision = self._compare(passed[-1], best) if passed else Continue()
        for step in passed:
            if step == report.resource:
                insort(self.averages.setdefault(str(step), []), (total + loss) / (n + 1))
            elif n:
                insort(self.averages.setdefault(str(step), []), total / n)
        self.sums[trial] = RunningLoss(n + 1, total + loss, best, report.resource)
        return decision

    def next_judged(self, trial_id: str, resource: int) -> int:
        """The next step at which trials are compared."""
        return next((step for step in self.steps if step > resource), self.max_resource)

    def diverged(self, report: Report) -> Decision:
        """Stop the trial, and count it as the worst from here on."""
        insort(self.diverged_at, report.resource)
        return super().diverged(report)

    def end(self, trial_id: str, ending: str) -> None:
        """Record the end; the trial's averages stay."""
        super().end(trial_id, ending)
        self.sums.pop(trial_id, None)

    def _compare(self, step: int, best: float) -> Decision:
        others = self.averages.get(str(step), [])
        n = len(others) + bisect_right(self.diverged_at, step)
        if n < self.n_startup_trials:
            return Continue()
        lower, upper = (others[i] if i < len(others) else math.inf for i in ((n - 1) // 2, n // 2))
        median = (lower + upper) / 2
        verdict = (
            f"step {step}: best {self.describe(best)}, "
            f"median of {n} running averages {self.format_value(median)}"
        )
        return Stop(verdict) if best > median else Continue(verdict)
