"""Findings: what a practised eye would see in a study, each a small rule with evidence, reading and fix.

A rule is a function of `Evidence` that answers with a `Finding` or None; `RULES` is the list. It is pure:
no file, no clock, no plot. To add one, write the function in the file of its subject, add it to `RULES`,
and give tests/report/ a study that raises it and a near miss that does not. Numbers like 003 are the
practice documents that a threshold is from.
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


def findings(seen: Evidence) -> tuple[Finding, ...]:
    """What all rules find, the gravest first, in the order of `RULES` among equals.

    No two give advice on one parameter's range: of those that would, the first stands.
    """
    every = [finding for rule in RULES if (finding := rule(seen)) is not None]
    told: set[str] = set()
    kept = []
    for finding in sorted(every, key=lambda finding: ORDER.index(finding.severity)):
        if told.isdisjoint(finding.parameters):
            kept.append(finding)
            told.update(finding.parameters)
    return tuple(kept)
