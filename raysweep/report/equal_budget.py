"""Compares two sides at an equal budget: what each found, and whether a test can say which method is better.

With one sweep per side there is a test only if trials are independent of each other: random search in which
no trial is stopped because of others. There the precedence test holds its level. It would call two equal TPE
searches different in a third of pairs (benchmarks/truth.py compare), so other pairs are only described.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from raysweep.report.noise import Noise
from raysweep.report.rank_test import RankTest, rank_test, sweeps_a_side
from raysweep.report.subject import Subject
from raysweep.report.trajectory import (
    Floats,
    Trajectory,
    at_budget,
    precedence,
    resampled,
    trajectory,
    within,
)

SEED = 0


class Procedure(StrEnum):
    """How two sides are compared."""

    DESCRIPTION = "description"
    PRECEDENCE = "precedence_test"
    RANK_TEST = "rank_test"


class Obstacle(StrEnum):
    """Why two sides are only described, not tested."""

    NONE = ""
    ONE_SWEEP_A_SIDE = "one_sweep_a_side"
    SAME_SEED = "same_seed"
    OTHER_DATA = "different_data"


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: of its only study, or a letter.
        sweeps: their names.
        subjects: the studies.
        courses: the trajectory of each.
        noise: of their results; None if it is not known.
    """

    name: str
    sweeps: tuple[str, ...]
    subjects: tuple[Subject, ...]
    courses: tuple[Trajectory, ...]
    noise: Noise | None


@dataclass(frozen=True, slots=True)
class EqualBudgetComparison:
    """Two sides compared at an equal budget of epochs: the least that any of their sweeps has spent.

    Attributes:
        one, other: names of the sides.
        epochs: the budget of each sweep.
        values: best of each sweep of each side, as it happened.
        medians: the same over resampled orders of the trials that had ended by then.
        procedure: how the two are compared.
        obstacle: why they are not tested.
        level: the largest significant p: 5 %, divided by the number of pairs of sides.
        p: two-sided; None if they are only described.
        reachable_p: the least p that so many sweeps can reach; None without a rank test.
        ahead: in the precedence test, drawn trials of one side that are better than the best of the other.
        lead: by how much the first is better (negative: the other is); for several sweeps, the median
            difference.
        low, high: interval of the lead; NaN without a rank test.
        confidence: of that interval.
        noise: how much two results differ by chance, in the metric; None if it is not known.
        better: the name of the better one; "" if they are not distinguishable.
        verdict: in words.
    """

    one: str
    other: str
    epochs: int
    values: tuple[tuple[float, ...], tuple[float, ...]]
    medians: tuple[tuple[float, ...], tuple[float, ...]]
    procedure: Procedure
    obstacle: Obstacle
    level: float
    p: float | None
    reachable_p: float | None
    ahead: int
    lead: float
    low: float
    high: float
    confidence: float
    noise: float | None
    better: str
    verdict: str


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of a procedure."""

    procedure: Procedure
    verdict: str
    obstacle: Obstacle = Obstacle.NONE
    p: float | None = None
    ranks: RankTest | None = None
    ahead: int = 0
    better: str = ""


def compare_at_equal_budget(one: Side, other: Side, level: float) -> EqualBudgetComparison:
    """Compare two sides; `level` is the share of wrong verdicts between equal sides."""
    sign, sides = one.subjects[0].sign, (one, other)
    budget = int(min(course.epochs.sum() for side in sides for course in side.courses))
    bests = [np.array([_best(course, budget) for course in side.courses]) for side in sides]
    medians = [[_median(course, budget) for course in side.courses] for side in sides]
    noise = _noise_of_difference(one.noise, other.noise)
    finite = all(np.isfinite(each).all() for each in bests)
    lead = float(np.median(bests[1][:, None] - bests[0][None, :])) if finite else math.nan
    outcome = _outcome(one, other, budget, bests, lead, noise, level)
    ranks = outcome.ranks
    return EqualBudgetComparison(
        one=one.name,
        other=other.name,
        epochs=budget,
        values=(tuple((sign * bests[0]).tolist()), tuple((sign * bests[1]).tolist())),
        medians=(tuple(sign * each for each in medians[0]), tuple(sign * each for each in medians[1])),
        procedure=outcome.procedure,
        obstacle=outcome.obstacle,
        level=level,
        p=outcome.p,
        reachable_p=None if ranks is None else ranks.reachable_p,
        ahead=outcome.ahead,
        lead=lead,
        low=math.nan if ranks is None else ranks.low,
        high=math.nan if ranks is None else ranks.high,
        confidence=math.nan if ranks is None else ranks.confidence,
        noise=noise,
        better=outcome.better,
        verdict=outcome.verdict,
    )


def data_of(subjects: Sequence[Subject]) -> set[str]:
    """The known fingerprints of the studies' data."""
    return {str(subject.record.provenance.get("data_fingerprint", "")) for subject in subjects} - {""}


def _best(course: Trajectory, budget: float) -> float:
    own = np.minimum.accumulate(course.losses)[None], np.cumsum(course.epochs)[None]
    return float(at_budget(*own, budget)[0])


def _median(course: Trajectory, budget: float) -> float:
    drawn = at_budget(*resampled(within(course, budget), SEED), budget)
    return float(np.percentile(drawn, 50.0, method="nearest"))


def _noise_of_difference(one: Noise | None, other: Noise | None) -> float | None:
    """The standard deviation of the difference of two results by chance."""
    stds = [noise.std for noise in (one, other) if noise is not None]
    return math.hypot(stds[0], stds[-1]) if stds else None


def _outcome(
    one: Side,
    other: Side,
    budget: int,
    bests: Sequence[Floats],
    lead: float,
    noise: float | None,
    level: float,
) -> _Outcome:
    if len(data_of([*one.subjects, *other.subjects])) > 1:
        verdict = "not comparable: trained on different data"
        return _Outcome(Procedure.DESCRIPTION, verdict, Obstacle.OTHER_DATA)
    if len(one.sweeps) + len(other.sweeps) > 2:
        for side in (one, other):
            if repeated := _same_seed(side):
                verdict = (
                    f"not tested: {repeated[0]} and {repeated[1]} of one side have the same seed, so they "
                    "are not independent; run each with its own --set seed=N"
                )
                return _Outcome(Procedure.DESCRIPTION, verdict, Obstacle.SAME_SEED)
        return _by_ranks(one, other, bests, level)
    if all(side.subjects[0].is_random_search for side in (one, other)):
        return _by_precedence(one, other, budget, noise, level)
    return _Outcome(
        Procedure.DESCRIPTION,
        _description(one, other, bests, lead, noise),
        Obstacle.ONE_SWEEP_A_SIDE,
    )


def _same_seed(side: Side) -> tuple[str, str] | None:
    """The names of two sweeps of a side with the same seed, if there are any."""
    first: dict[int | None, str] = {}
    for name, subject in zip(side.sweeps, side.subjects, strict=True):
        if subject.seed in first:
            return first[subject.seed], name
        first[subject.seed] = name
    return None


def _by_ranks(one: Side, other: Side, bests: Sequence[Floats], level: float) -> _Outcome:
    ranks = rank_test(*bests)
    sizes = f"{len(one.sweeps)} sweeps against {len(other.sweeps)}"
    better = ""
    if ranks.p <= level:
        better = one.name if ranks.first_is_ahead else other.name
        verdict = f"{better} is better: p = {ranks.p:.2g} (exact rank test, {sizes})"
    elif ranks.reachable_p > level:
        verdict = (
            f"not distinguishable: p = {ranks.p:.2g}; {sizes} can reach {ranks.reachable_p:.2g} at best, "
            f"{sweeps_a_side(level)} per side are the least for {100 * level:.2g} %"
        )
    else:
        verdict = f"not distinguishable: p = {ranks.p:.2g} (exact rank test, {sizes}; needs {level:.2g})"
    return _Outcome(Procedure.RANK_TEST, verdict, p=ranks.p, ranks=ranks, better=better)


def _by_precedence(one: Side, other: Side, budget: int, noise: float | None, level: float) -> _Outcome:
    """Test two random searches by the trials that the samplers drew: only those are independent."""
    first, second = (
        (within(trajectory(side.subjects[0], sampled_only=True), budget).losses, side.name)
        for side in (one, other)
    )
    if second[0].min(initial=math.inf) < first[0].min(initial=math.inf):
        first, second = second, first
    name, (ahead, p) = first[1], precedence(first[0], second[0])
    gap = float(second[0].min(initial=math.inf)) - float(first[0].min(initial=math.inf))
    facts = f"the best {ahead} of {name} beat the best of {second[1]}" if ahead else "neither is ahead"
    if p > level:
        verdict, better = f"not distinguishable: {facts}, p = {p:.2g} (needs {level:.2g})", ""
    elif noise is not None and gap <= noise:
        verdict, better = f"not distinguishable: they differ by {gap:.3g}, two trainings by {noise:.3g}", ""
    else:
        verdict, better = f"{name} is better: {facts}, p = {p:.2g} (precedence test)", name
    return _Outcome(Procedure.PRECEDENCE, verdict, p=p, ahead=ahead, better=better)


def _description(one: Side, other: Side, bests: Sequence[Floats], lead: float, noise: float | None) -> str:
    if bests[0][0] == bests[1][0]:
        return "neither is ahead"
    first = one if bests[0][0] < bests[1][0] else other
    if math.isnan(lead):
        return f"only {first.name} has a result by then"
    chance = f"; two trainings of one configuration differ by {noise:.3g}" if noise is not None else ""
    return f"{first.name} is ahead by {abs(lead):.3g}{chance}"
