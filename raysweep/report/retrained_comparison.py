"""Compares two studies' retrained winners over their seeds: which configuration is better."""

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
        candidates: how many it was chosen from, by these seeds.
    """

    what: str
    mean: float
    seeds: int
    candidates: int


@dataclass(frozen=True, slots=True)
class RetrainedComparison:
    """Two retrained winners compared by Welch's t.

    The winner of several candidates was chosen by the same seeds that it is judged by. The p value is
    therefore multiplied by the number of candidates of the side ahead (Bonferroni), and the interval widened
    accordingly.

    Attributes:
        one, other: names of the sides.
        winners: of each.
        p: two-sided, after that multiplication.
        low, high: 95 % interval of the lead of the first (negative: the other is ahead).
        level: the largest significant p.
        better: the name of the better one; "" if they are not distinguishable.
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
    """Compare two studies' retrained winners.

    Returns:
        None if a study was not retrained, its winner has fewer than two seeds, or all values are equal.
    """
    winners = [_winner(subject) for subject in (one, other)]
    if winners[0] is None or winners[1] is None:
        return None
    (first, values), (second, others) = winners[0], winners[1]
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
    result = retraining_of(subject)
    if result is None:
        return None
    standings = [one for one in result["standings"] if one["seeds"]]
    first = next((one for one in standings if one["name"] == result["winner"]), None)
    if first is None or len(first["seeds"]) < 2:
        return None
    values = np.array(list(first["seeds"].values()), dtype=float)
    return RetrainedWinner(first["what"], float(values.mean()), len(values), len(standings)), values


def _in_words(
    one: str, other: str, winners: tuple[RetrainedWinner, RetrainedWinner], p: float, better: str, chosen: int
) -> str:
    means = " against ".join(f"{winner.mean:.4g} ({winner.seeds} seeds)" for winner in winners)
    times = f", times the {chosen} candidates that the one ahead was chosen from" if chosen > 1 else ""
    verdict = f"the winner of {better} is better" if better else "the winners are not distinguishable"
    return (
        f"{verdict}: {means}, p = {p:.2g} (Welch's t{times}). This compares two configurations, and does not "
        "say which method finds better ones"
    )
