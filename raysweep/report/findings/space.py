"""Findings on the search space: too narrow, too wide, or settled in one region."""

from __future__ import annotations

import math
from typing import Any

from raysweep.report.boundary import widening
from raysweep.report.findings.evidence import (
    TOP,
    Evidence,
    Finding,
    again,
    narrowed,
    ranges_of,
    rate_key,
)
from raysweep.report.formatting import number, percent, setting
from raysweep.report.subject import Subject
from schedulers.space import Categorical, Domain, Float, Int

ALIKE = 0.005  # of the best value; 003, red flag 2
LEAST = 5  # trials, below which they are not called alike
DOMINATES = 0.7  # of the variance; 000, "how to read the report"
CLIFF, CHANCE = 3, 0.02  # trials beyond it, and the probability of so clean a cut by chance
AGREED = 0.1  # of a range, on its scale
RANKED = 20  # trials, below which the best of them are not compared: 003, "need 20+"


def all_alike(evidence: Evidence) -> Finding | None:
    """All completed trials are worth the same, within 0.5%: 003, red flag 2."""
    subject = evidence.subject
    losses = [
        loss
        for trial in subject.ranked()
        if trial.outcome == "completed" and (loss := subject.loss(trial)) is not None
    ]
    if len(losses) < LEAST or losses[-1] - losses[0] > ALIKE * abs(losses[0]):
        return None
    return Finding(
        "all_alike",
        "problem",
        f"{len(losses)} completed trials lie between {number(subject.value(losses[0]))} "
        f"and {number(subject.value(losses[-1]))}",
        "The searched parameters do not matter or do not reach the training, or all trials hit one floor.",
        "Check that the searched values are used, then search another parameter or a wider range.",
    )


def best_at_an_edge(evidence: Evidence) -> Finding | None:
    """The best trials crowd at a bound of the search space: 000, boundary warnings; 003, red flag 3."""
    crowded = [edge for edge in evidence.edges if edge.crowded]
    if not crowded:
        return None
    return Finding(
        "best_at_an_edge",
        "advice",
        "; ".join(f"{edge.key}: {edge.sentence}" for edge in crowded),
        "The optimum may lie outside the search space.",
        widening(evidence.subject, evidence.edges) or "Widen the range by hand, in the sweep file.",
        tuple(edge.key for edge in crowded),
    )


def baseline_wins(evidence: Evidence) -> Finding | None:
    """No trial of the search is better than the run's own values: 003, red flag 6."""
    own = evidence.tables.baseline
    if own is None or own.gain > 0:
        return None
    return Finding(
        "baseline_wins",
        "problem",
        f"the baseline (trial {own.number}) has {number(own.value)}, "
        f"the best of the search {number(own.best)}",
        "The search has not been worth its cost yet.",
        "Give it more trials, or narrow the ranges around the run's own values.",
    )


def diverges_above(evidence: Evidence) -> Finding | None:
    """Beyond some learning rate every trial diverges: 003, section 3 (LR = 1.0: loss NaN).

    The cut is halfway, in decades, between the highest rate that did not diverge and the lowest beyond it. It
    is reported only if at least three trials lie beyond and so clean a cut is unlikely by chance: the share
    of all ways to place d divergences among n trials in which the top m all diverged.
    """
    subject, key = evidence.subject, rate_key(evidence.subject)
    if key is None or not isinstance(subject.domains[key], Float | Int):
        return None
    ended = [trial for trial in subject.trials if trial.outcome is not None and key in trial.config]
    died = [float(trial.config[key]) for trial in ended if trial.outcome == "diverged"]
    lived = [float(trial.config[key]) for trial in ended if trial.outcome in ("completed", "stopped")]
    beyond = sorted(rate for rate in died if rate > max(lived, default=math.inf))
    if len(beyond) < CLIFF:
        return None
    n, d, m = len(lived) + len(died), len(died), len(beyond)
    if math.comb(n - m, d - m) / math.comb(n, d) > CHANCE:
        return None
    bound = float(f"{math.sqrt(max(lived) * beyond[0]):.2g}")
    return Finding(
        "diverges_above",
        "advice",
        f"all {m} trials with {key} above {setting(max(lived))} diverged (the lowest at "
        f"{setting(beyond[0])}); {d - m} of the {n - m} at or below it did",
        "Every trial in that part of the space is lost.",
        _capped(subject, key, bound),
        (key,),
    )


def _capped(subject: Subject, key: str, bound: float) -> str:
    """The command that lowers the upper bound of a parameter's range, or of each case's."""
    settings = {
        f"{place}.max": bound
        for place, one in ranges_of(subject, key).items()
        if not isinstance(one.domain, Categorical) and one.domain.low < bound < one.domain.high
    }
    return again(subject, settings) if settings else f"Leave out values of {key} above {bound:g}."


def one_parameter_rules(evidence: Evidence) -> Finding | None:
    """One parameter explains more than 0.7 of the variance: 000, "concentrate your next search around it".

    Silent while there are too few trials, if the second's interval reaches the first's, or if another
    parameter leads among all trials, stopped ones included, at an epoch that all of them reached.
    """
    shares = evidence.importance.shares
    if len(shares) < 2 or evidence.importance.caution or shares[0].fanova <= DOMINATES:
        return None
    first, subject = shares[0], evidence.subject
    early = evidence.importance_at_epoch
    if early is not None and early.importance.shares[:1] and early.importance.shares[0].name != first.name:
        return None  # the stopped trials contradict it
    best = [subject.config(trial) for trial in subject.ranked()[:TOP]]
    values = [config[first.name] for config in best if first.name in config]
    return Finding(
        "one_parameter_rules",
        "advice",
        f"{first.name} explains {percent(first.fanova)} of the variance (fANOVA, "
        f"{first.fanova_low:.2f}-{first.fanova_high:.2f})",
        f"The others hardly matter while it is wrong: search it more closely first, around the best "
        f"{len(values)} values (such as {setting(min(values, key=str))}), and then the others.",
        again(subject, narrowed(evidence, first.name, best)) if values else "Narrow its range.",
        (first.name,),
    )


def top_agrees(evidence: Evidence) -> Finding | None:
    """The best trials agree on a value, which need not be searched any more.

    The top five of at least twenty (003, "need 20+ to be confident") lie within a tenth of the range, on its
    scale, with a probability below 2% by chance, over all parameters. Silent for parameters for which
    crowding at an edge, or a dominating importance, is reported instead.
    """
    subject, ranked = evidence.subject, evidence.subject.ranked()
    if len(ranked) < RANKED:
        return None
    reported = {edge.key for edge in evidence.edges if edge.crowded}
    if one_parameter_rules(evidence) is not None:
        reported.add(evidence.importance.shares[0].name)
    best = [subject.config(trial) for trial in ranked[:TOP]]
    agreed: dict[str, list[Any]] = {}
    for key, domain in subject.domains.items():
        values = [config[key] for config in best if key in config]
        if len(values) < TOP or key in reported:
            continue
        if _together(domain, values) and _by_chance(domain) * len(subject.domains) < CHANCE:
            agreed[key] = values
    if not agreed:
        return None
    texts = [f"{key} at {_span(values)}" for key, values in agreed.items()]
    settings: dict[str, Any] = {}
    for key in agreed:
        settings |= narrowed(evidence, key, best)
    return Finding(
        "top_agrees",
        "advice",
        f"the best {TOP} of {len(ranked)} trials all have {', '.join(texts)}",
        "These are settled: narrow them, and spend the trials on the others.",
        again(subject, settings),
        tuple(agreed),
    )


def _together(domain: Domain, values: list[Any]) -> bool:
    if isinstance(domain, Categorical):
        return all(value == values[0] for value in values)
    units = [domain.to_unit(value) for value in values]
    return max(units) - min(units) <= AGREED


def _by_chance(domain: Domain) -> float:
    """The probability that `TOP` uniform draws lie so close together; 1 for a single value."""
    if isinstance(domain, Categorical):
        return float(len(domain.choices)) ** (1 - TOP)
    if domain.low == domain.high:
        return 1.0
    if isinstance(domain, Int) and not domain.log:
        cells = (domain.high - domain.low) // domain.step + 1
        width = (math.floor(AGREED * (cells - 1)) + 1) / cells
    else:
        width = AGREED
    return TOP * width ** (TOP - 1) - (TOP - 1) * width**TOP  # P(range of TOP uniform draws <= width)


def _span(values: list[Any]) -> str:
    if all(value == values[0] for value in values):
        return setting(values[0])
    return f"{setting(min(values))} to {setting(max(values))}"
