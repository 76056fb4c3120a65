"""Findings: what an expert would notice in a study, each a small rule with evidence, reading and fix.

A rule is a pure function of `Evidence` that returns a `Finding` or None; `RULES` lists them. To add one,
write the function in the file of its subject, add it to `RULES`, and give tests/report/ a study that raises
it and a near miss that does not. Numbers like 003 name the practice document that a threshold comes from.
"""

from __future__ import annotations

from raysweep.report.findings.evidence import ORDER, Evidence, Finding, Rule, Severity
from raysweep.report.findings.progress import search_has_settled, winner_within_noise
from raysweep.report.findings.space import (
    all_alike,
    baseline_wins,
    best_at_an_edge,
    diverges_above,
    one_parameter_rules,
    top_agrees,
)
from raysweep.report.findings.stopping import (
    false_stops,
    stopper_always_acts,
    stopper_never_acts,
    stops_too_many,
)
from raysweep.report.findings.training import (
    average_lags,
    dies_in_first_epoch,
    epochs_run_out,
    lacks_capacity,
    noisy_training,
    overfits,
    slow_convergence,
)

__all__ = ["ORDER", "RULES", "Evidence", "Finding", "Rule", "Severity", "findings"]

RULES: tuple[Rule, ...] = (
    all_alike,
    baseline_wins,
    stopper_always_acts,
    stops_too_many,
    false_stops,
    diverges_above,
    dies_in_first_epoch,
    average_lags,
    winner_within_noise,
    best_at_an_edge,
    one_parameter_rules,
    top_agrees,
    noisy_training,
    slow_convergence,
    epochs_run_out,
    overfits,
    lacks_capacity,
    stopper_never_acts,
    search_has_settled,
)


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """All findings, the most severe first, in the order of `RULES` among equals.

    If several give advice on one parameter's range, only the first is kept.
    """
    every = [finding for rule in RULES if (finding := rule(evidence)) is not None]
    advised: set[str] = set()
    kept = []
    for finding in sorted(every, key=lambda finding: ORDER.index(finding.severity)):
        if advised.isdisjoint(finding.parameters):
            kept.append(finding)
            advised.update(finding.parameters)
    return tuple(kept)
