"""What the trials say about the search space: too narrow, too wide, or settled in one place."""

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
LEAST = 5  # trials, to call any number of them alike
DOMINATES = 0.7  # of the variance; 000, "how to read the report"
CLIFF, CHANCE = 3, 0.02  # trials beyond it, and how likely so clean a cut is by chance
AGREED = 0.1  # of a range, on its scale
RANKED = 20  # trials, before the best of them are asked what they agree on: 003, "need 20+"


def all_alike(seen: Evidence) -> Finding | None:
    """All completed trials are worth the same, within 0.5%: 003, red flag 2."""
    subject = seen.subject
    losses = [
        worth
        for trial in subject.ranked()
        if trial.outcome == "completed" and (worth := subject.worth(trial)) is not None
    ]
    if len(losses) < LEAST or losses[-1] - losses[0] > ALIKE * abs(losses[0]):
        return None
    return Finding(
        "all_alike",
        "problem",
        f"{len(losses)} completed trials lie between {number(subject.value(losses[0]))} "
        f"and {number(subject.value(losses[-1]))}",
        "What was searched does not matter, or does not reach the training; or all are caught at one floor.",
        "Check that the searched values are used, then search another parameter or a wider range.",
    )


def best_at_an_edge(seen: Evidence) -> Finding | None:
    """The best trials crowd at a bound of the search space: 000, boundary warnings; 003, red flag 3."""
    crowded = [edge for edge in seen.edges if edge.crowded]
    if not crowded:
        return None
    return Finding(
        "best_at_an_edge",
        "advice",
        "; ".join(f"{edge.key}: {edge.sentence}" for edge in crowded),
        "The optimum may lie outside the search space.",
        widening(seen.subject, seen.edges) or "Widen the range by hand, in the sweep file.",
        tuple(edge.key for edge in crowded),
    )


def baseline_wins(seen: Evidence) -> Finding | None:
    """Nothing that was searched is better than the run's own values: 003, red flag 6."""
    own = seen.tables.baseline
    if own is None or own.gain > 0:
        return None
    return Finding(
        "baseline_wins",
        "problem",
        f"the baseline (trial {own.number}) is worth {number(own.value)}, "
        f"the best of the search {number(own.best)}",
        "The search has not earned its cost yet.",
        "Give it more trials, or narrow the ranges around the run's own values.",
    )


def diverges_above(seen: Evidence) -> Finding | None:
    """Beyond some learning rate every trial diverges: 003, section 3 (LR = 1.0: loss NaN).

    The cut is half way, in decades, from the highest rate that did not diverge to the lowest beyond it. It
    is told only if three trials lie beyond and so clean a cut is unlikely by chance: of all ways to place
    d divergences among n trials, the share that has the top m all diverged.
    """
    subject, key = seen.subject, rate_key(seen.subject)
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
        "That part of the space holds nothing; every trial there is lost.",
        _capped(subject, key, bound),
        (key,),
    )


def _capped(subject: Subject, key: str, bound: float) -> str:
    """The command that ends a parameter's range, or each case's, at a bound."""
    settings = {
        f"{place}.max": bound
        for place, one in ranges_of(subject, key).items()
        if not isinstance(one.domain, Categorical) and one.domain.low < bound < one.domain.high
    }
    return again(subject, settings) if settings else f"Leave out values of {key} above {bound:g}."


def one_parameter_rules(seen: Evidence) -> Finding | None:
    """One parameter explains more than 0.7 of the variance: 000, "concentrate your next search around it".

    Not while the trials are too few to say, nor where the second's interval reaches the first's, nor
    where all trials, stopped ones too, say otherwise at an epoch that all of them reached.
    """
    shares = seen.importance.shares
    if len(shares) < 2 or seen.importance.caution or shares[0].fanova <= DOMINATES:
        return None
    first, subject = shares[0], seen.subject
    early = seen.importance_at_epoch
    if early is not None and early.importance.shares[:1] and early.importance.shares[0].name != first.name:
        return None  # the stopped trials, all of one kind perhaps, say otherwise
    best = [subject.config(trial) for trial in subject.ranked()[:TOP]]
    values = [config[first.name] for config in best if first.name in config]
    return Finding(
        "one_parameter_rules",
        "advice",
        f"{first.name} explains {percent(first.fanova)} of the variance (fANOVA, "
        f"{first.fanova_low:.2f}-{first.fanova_high:.2f})",
        f"The others hardly matter while it is off: search it more closely, around the best {len(values)} "
        f"({setting(min(values, key=str))} is one of them), and the others only then.",
        again(subject, narrowed(seen, first.name, best)) if values else "Narrow its range.",
        (first.name,),
    )


def top_agrees(seen: Evidence) -> Finding | None:
    """The best trials agree on a value, which need not be searched any more.

    Asked of the top five of at least twenty (003, "need 20+ to be confident"): within a tenth of the
    range, on its scale, and less likely than 2% by chance, over all parameters. Where they crowd at an
    edge, or where one parameter explains nearly all, that is said instead.
    """
    subject, ranked = seen.subject, seen.subject.ranked()
    if len(ranked) < RANKED:
        return None
    told = {edge.key for edge in seen.edges if edge.crowded}
    if one_parameter_rules(seen) is not None:
        told.add(seen.importance.shares[0].name)
    best = [subject.config(trial) for trial in ranked[:TOP]]
    agreed: dict[str, list[Any]] = {}
    for key, domain in subject.domains.items():
        values = [config[key] for config in best if key in config]
        if len(values) < TOP or key in told:
            continue
        if _together(domain, values) and _by_chance(domain) * len(subject.domains) < CHANCE:
            agreed[key] = values
    if not agreed:
        return None
    texts = [f"{key} at {_span(values)}" for key, values in agreed.items()]
    settings: dict[str, Any] = {}
    for key in agreed:
        settings |= narrowed(seen, key, best)
    return Finding(
        "top_agrees",
        "advice",
        f"the best {TOP} of {len(ranked)} trials all have {', '.join(texts)}",
        "It is settled: narrow it, and spend the trials on what is not.",
        again(subject, settings),
        tuple(agreed),
    )


def _together(domain: Domain, values: list[Any]) -> bool:
    if isinstance(domain, Categorical):
        return all(value == values[0] for value in values)
    units = [domain.to_unit(value) for value in values]
    return max(units) - min(units) <= AGREED


def _by_chance(domain: Domain) -> float:
    """How likely `TOP` even draws lie so close together; 1 for what has one value only."""
    if isinstance(domain, Categorical):
        return float(len(domain.choices)) ** (1 - TOP)
    if domain.low == domain.high:
        return 1.0
    if isinstance(domain, Int) and not domain.log:
        cells = (domain.high - domain.low) // domain.step + 1
        width = (math.floor(AGREED * (cells - 1)) + 1) / cells
    else:
        width = AGREED
    return TOP * width ** (TOP - 1) - (TOP - 1) * width**TOP  # the range of n even draws, at most `width`


def _span(values: list[Any]) -> str:
    if all(value == values[0] for value in values):
        return setting(values[0])
    return f"{setting(min(values))} to {setting(max(values))}"
