"""Two studies' retrained winners, seed against seed: which configuration is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import ttest_ind

from raysweep.report.noise import retraining_of
from raysweep.report.subject import Subject


@dataclass(frozen=True, slots=True)
class RetrainedWinner:
    """A study's winner after its retraining.

    Attributes:
        what: the configuration, in words.
        mean: over the seeds.
        seeds: how many.
        candidates: that it was chosen from by these seeds.
    """

    what: str
    mean: float
    seeds: int
    candidates: int


@dataclass(frozen=True, slots=True)
class RetrainedComparison:
    """Two retrained winners by Welch's t.

    The winner of several candidates was chosen by the very seeds that it is judged by. The p value is
    therefore multiplied by the number of candidates of the side ahead (Bonferroni), and the interval is of
    the confidence that this leaves.

    Attributes:
        one, other: names of the sides.
        winners: of each.
        p: two-sided, after that multiplication.
        low, high: 95 % interval of the lead of the first (negative: the other is ahead).
        level: that p is held against.
        better: the name of the better one; "" where they are not distinguishable.
        verdict: in words.
    """

    one: str
    other: str
    winners: tuple[RetrainedWinner, RetrainedWinner]
    p: float
    low: float
    high: float
    level: float
    better: str
    verdict: str


def compare_retrained(
    name: str, other_name: str, one: Subject, other: Subject, level: float
) -> RetrainedComparison | None:
    """Hold two studies' retrained winners against each other.

    Returns:
        None where a study was not retrained, its winner has fewer than two seeds, or all seeds are equal.
    """
    found = [_winner(subject) for subject in (one, other)]
    if found[0] is None or found[1] is None:
        return None
    (first, values), (second, others) = found[0], found[1]
    if not np.ptp(values) and not np.ptp(others):
        return None
    ahead = first if one.sign * (second.mean - first.mean) > 0 else second
    test = ttest_ind(one.sign * others, one.sign * values, equal_var=False)
    p = min(1.0, float(test.pvalue) * ahead.candidates)
    interval = test.confidence_interval(1 - level / ahead.candidates)
    better = (name if ahead is first else other_name) if p <= level else ""
    return RetrainedComparison(
        one=name,
        other=other_name,
        winners=(first, second),
        p=p,
        low=float(interval.low),
        high=float(interval.high),
        level=level,
        better=better,
        verdict=_in_words(name, other_name, (first, second), p, better, ahead.candidates),
    )


def _winner(subject: Subject) -> tuple[RetrainedWinner, Any] | None:
    known = retraining_of(subject)
    if known is None:
        return None
    standings = [one for one in known["standings"] if one["seeds"]]
    first = next((one for one in standings if one["name"] == known["winner"]), None)
    if first is None or len(first["seeds"]) < 2:
        return None
    values = np.array(list(first["seeds"].values()), dtype=float)
    return RetrainedWinner(first["what"], float(values.mean()), len(values), len(standings)), values


def _in_words(
    one: str, other: str, winners: tuple[RetrainedWinner, RetrainedWinner], p: float, better: str, chosen: int
) -> str:
    means = " against ".join(f"{winner.mean:.4g} ({winner.seeds} seeds)" for winner in winners)
    times = f", times the {chosen} candidates that the one ahead was chosen from" if chosen > 1 else ""
    who = f"the winner of {better} is better" if better else "the winners are not distinguishable"
    return (
        f"{who}: {means}, p = {p:.2g} (Welch's t{times}). It is one configuration against another, and "
        "does not say which method finds better ones"
    )
