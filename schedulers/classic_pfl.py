"""The predicted-final-loss rule of the training template, as its documents state it."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping
from typing import Any, NamedTuple

from schedulers.errors import require_at_least
from schedulers.rule import Continue, Decision, Objective, Report, Rule, Stop


class FitSums(NamedTuple):
    """Sums over a trial's points (t, y = ln loss) that determine its least-squares line.

    Attributes:
        n: number of points.
        t, tt: sums of t and t².
        y, ty: sums of y and t·y.
    """

    n: float = 0.0
    t: float = 0.0
    tt: float = 0.0
    y: float = 0.0
    ty: float = 0.0

    def plus(self, t: float, y: float) -> FitSums:
        """The sums with one more point."""
        return FitSums(self.n + 1.0, self.t + t, self.tt + t * t, self.y + y, self.ty + t * y)


class ClassicPFLRule(Rule):
    """Stop a trial whose predicted final loss is worse than the worst of the K best finished ones.

    After each epoch t, L(t) = A exp(K t) is fitted to all the trial's losses by least squares on
    their logarithms, and evaluated at `target_epoch`. PFL is -log10 of that, so higher is better. The
    reference set holds the K highest PFLs of trials that ran to the end.

    The documents leave open what is decided here: the first `n_startup_trials` *to report* are never
    stopped, and no trial is stopped until that many have finished (with many workers they finish late).
    A trial with a loss that is zero or negative has no PFL: it is never stopped, and is no reference.

    Args:
        max_resource: R, epochs of a whole trial.
        n_startup_trials: trials that run to the end unconditionally.
        n_warmup_epochs: epochs of each trial after which it can be stopped at the earliest; at or
            above R the rule can never act.
        top_k: size of the reference set.
        target_epoch: epoch for which the loss is predicted; R if None.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: if a count is negative, top_k is below 1 or target_epoch is below 1.
    """

    def __init__(
        self,
        *,
        max_resource: int,
        n_startup_trials: int = 10,
        n_warmup_epochs: int = 10,
        top_k: int = 10,
        target_epoch: int | None = None,
        objective: Objective = "last",
    ) -> None:
        super().__init__(max_resource=max_resource, objective=objective)
        self.n_startup_trials = n_startup_trials
        self.n_warmup_epochs = n_warmup_epochs
        self.top_k = top_k
        self.target_epoch = max_resource if target_epoch is None else target_epoch
        require_at_least(0, n_startup_trials=n_startup_trials, n_warmup_epochs=n_warmup_epochs)
        require_at_least(1, top_k=top_k, target_epoch=self.target_epoch)
        self.startup: dict[str, int] = {}  # the first trials, never stopped -> their order of arrival
        self.sums: dict[str, FitSums | None] = {}  # running trial -> its sums; None: a loss was <= 0
        self.finished = 0
        self.top: list[float] = []  # the K highest PFLs of finished trials, ascending

    def memory(self) -> tuple[str, ...]:
        """Also the running sums (O(1) per trial) and the reference set (at most K numbers)."""
        return (*super().memory(), "startup", "sums", "finished", "top")

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore `state`, in which JSON may have turned the named tuples into lists."""
        super().load(state)
        self.sums = {trial: None if sums is None else FitSums(*sums) for trial, sums in self.sums.items()}

    def extension_obstacle(self, *, epochs: bool, trials: bool) -> str:
        """Epochs cannot be added: decisions rest on predicted losses at R."""
        return "trials were stopped by what they would be worth at R" if epochs else ""

    def judge(self, report: Report) -> Decision:
        """Update the trial's fit, and compare it with the reference set after the warm-up."""
        trial, epoch = report.trial_id, report.resource
        if len(self.startup) < self.n_startup_trials:
            self.startup.setdefault(trial, len(self.startup))
        self._learn(report)
        pfl = self._pfl(trial)
        if epoch >= self.max_resource or epoch <= self.n_warmup_epochs:
            return Continue()
        if pfl is None or trial in self.startup:
            return Continue()
        if self.finished < max(self.n_startup_trials, 1) or not self.top:
            return Continue()
        worst = self.top[0]
        reason = (
            f"predicted final {self.describe(_loss(pfl))} (PFL {pfl:.4g}) at epoch {epoch}; "
            f"worst of the top {len(self.top)} finished: {self.format_value(_loss(worst))} (PFL {worst:.4g})"
        )
        return Stop(reason) if pfl < worst else Continue(reason)

    def next_judged(self, trial_id: str, resource: int) -> int:
        """The first report, which makes the startup trials; then any epoch after the warm-up."""
        if resource == 0:
            return 1
        return self.max_resource if trial_id in self.startup else max(self.n_warmup_epochs, resource) + 1

    def end(self, trial_id: str, ending: str) -> None:
        """Record the end; a completed trial (at R, or by early stopping) may join the reference set."""
        if ending == "completed" and trial_id not in self.endings:
            self.finished += 1
            pfl = self._pfl(trial_id)
            if pfl is not None:
                insort(self.top, pfl)
                del self.top[: -self.top_k]
        super().end(trial_id, ending)
        self.sums.pop(trial_id, None)

    def _learn(self, report: Report) -> None:
        sums = self.sums.get(report.trial_id, FitSums())
        assert report.loss is not None
        if sums is None or report.loss <= 0:
            self.sums[report.trial_id] = None
        else:
            self.sums[report.trial_id] = sums.plus(float(report.resource), math.log(report.loss))

    def _pfl(self, trial_id: str) -> float | None:
        """The predicted final loss as -log10, or None if a loss was zero or negative."""
        sums = self.sums.get(trial_id)
        return None if sums is None else -log_loss(sums, self.target_epoch) / math.log(10)


def log_loss(sums: FitSums, epoch: float) -> float:
    """The natural logarithm of the predicted loss at `epoch`: ln A + K·epoch.

    With one point the slope is taken as zero.

    >>> round(log_loss(FitSums(2, 3, 5, -3, -5), 10), 6)  # exp(-t) at t = 1, 2
    -10.0
    """
    n, st, stt, sy, sty = sums
    spread = n * stt - st * st
    slope = (n * sty - st * sy) / spread if spread > 0 else 0.0
    return (sy - slope * st) / n + slope * epoch


def _loss(pfl: float) -> float:
    """The loss for a PFL; infinite where a float cannot hold it."""
    return 10.0**-pfl if pfl > -300 else math.inf
