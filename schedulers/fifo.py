"""First in, first out: every trial runs all its epochs, in the order of creation."""

from __future__ import annotations

from schedulers.rule import Continue, Decision, Report, Rule


class FIFORule(Rule):
    """Stops no trial for being worse than others; only a non-finite loss ends one early.

    >>> FIFORule(max_resource=2).report(Report("00000", 2, 0.5)).reason
    'finished all 2 epochs'
    """

    def judge(self, report: Report) -> Decision:
        """Always train on."""
        return Continue()

    def next_judged(self, trial_id: str, resource: int) -> int:
        """Nothing is decided before R."""
        return self.max_resource
