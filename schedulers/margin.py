"""Stopping trials that are worse than the best by more than a margin that shrinks with the epoch."""

from __future__ import annotations

from collections.abc import Mapping

from schedulers.errors import InvalidSetting
from schedulers.rule import Continue, Decision, Objective, Report, Rule, Stop

# A rule of thumb of practitioners, for an accuracy as a share of 1 and 100 epochs: "worse than best
# by, at epoch 5: >15% prune; 10: >10% prune; 30: >5% prune; 50: >2% don't, it might still recover".
RULE_OF_THUMB: Mapping[int, float | None] = {5: 0.15, 10: 0.10, 30: 0.05, 50: None}


class MarginRule(Rule):
    """Stop a trial that is worse than the best loss of any trial at any epoch by more than a margin.

    The margin of the highest epoch reached applies; before the first, no trial is stopped. Early epochs
    of one trial are compared with late ones of another, so margins are wide at first. The rule is a
    single comparison and remembers one number, but the user has to know a fair margin.

    Margins are in the metric's own unit (an accuracy of 0.75 against 0.9: 0.15), or `relative`, that is
    shares of the best loss's size, which suits losses of unknown scale.

    Args:
        max_resource: R, epochs of a whole trial.
        margins: epoch -> margin from there on, None for "never"; if None, `RULE_OF_THUMB` with its
            epochs taken as percent of R.
        relative: margins are shares of the best.
        objective: what a trial is worth: its `last` loss or its `best` so far.

    Raises:
        ValueError: for invalid epochs or margins, or if no trial could ever be stopped.
    """

    def __init__(
        self,
        *,
        max_resource: int,
        margins: Mapping[int, float | None] | None = None,
        relative: bool = False,
        objective: Objective = "last",
    ) -> None:
        super().__init__(max_resource=max_resource, objective=objective)
        if margins is None:
            # ceil(percent · R / 100); of several that fall on one epoch the last and narrowest counts.
            margins = {-(-percent * max_resource // 100): margin for percent, margin in RULE_OF_THUMB.items()}
        elif all(margin is None for margin in margins.values()):
            raise InvalidSetting("margins", "margins must hold at least one number, as in {5: 0.15, 10: 0.1}")
        # JSON turns the epochs into strings.
        self.margins = {int(epoch): margin for epoch, margin in margins.items()}
        for epoch, margin in self.margins.items():
            if epoch < 1:
                raise InvalidSetting("margins", f"margins: epoch {epoch} must be at least 1")
            if margin is not None and not margin >= 0:
                raise InvalidSetting("margins", f"margins: {margin} at epoch {epoch} must be at least 0")
        self.relative = relative
        self.best: float | None = None

    def memory(self) -> tuple[str, ...]:
        """Also the best loss of all."""
        return (*super().memory(), "best")

    def judge(self, report: Report) -> Decision:
        """Compare with the best loss of all reports, this one included."""
        loss = report.loss
        assert loss is not None
        best = self.best = loss if self.best is None else min(self.best, loss)
        since = max((epoch for epoch in self.margins if epoch <= report.resource), default=None)
        margin = None if since is None else self.margins[since]
        if margin is None:
            return Continue()
        allowed = margin * abs(best) if self.relative else margin
        verdict = (
            f"epoch {report.resource}: {self.describe(loss)} is {loss - best:.6g} worse than the best, "
            f"{allowed:.6g} allowed from epoch {since} on"
        )
        return Stop(verdict) if loss - best > allowed else Continue(verdict)
