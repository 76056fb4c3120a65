"""Several sweeps side by side: which is best, how sure that is, and whether they agree on a winner.

How sure: each sweep's trials are drawn with replacement, in any order, and the best so far is followed.
That treats a search's trials as if they had come by chance, which those of an adaptive search have not:
its own order is drawn beside the interval. And no resample is better than the best there was, so that
an interval's good side is too narrow (Bickel & Freedman, Ann. Stat. 9 (1981) 1196, on the bootstrap of an
extreme): of two searches alike, one would look better in 95% of resamples every fourth time. "Better" is
therefore said only where the precedence test says so and the lead is larger than seed noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from service.report.agreement import Agreement, agreement
from service.report.course import Course, Floats, at_budget, course, precedence, resampled, within
from service.report.errors import CannotReport, NothingFound
from service.report.noise import Noise, noise_of
from service.report.subject import Subject
from service.report.tables import Row, row
from service.report.words import plain

VERSION = 1
SEED = 0
BAND = (5.0, 95.0)  # percentiles
CHANCE = 0.05
STEPS = 60  # places of a curve
OTHER_DATA = "not comparable: trained on different data"


@dataclass(frozen=True, slots=True)
class Curve:
    """The best so far of a sweep against what was spent, in the user's direction.

    Attributes:
        spent: trials or epochs.
        best: as it happened; NaN before the first.
        low, middle, high: percentiles 5, 50 and 95 over resampled orders; NaN likewise.
    """

    spent: tuple[float, ...]
    best: tuple[float, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Side:
    """One sweep of a comparison.

    Attributes:
        name: the study's; with its folder's parents where two have the same.
        subject: the study.
        best: its winner.
        trials: that have ended.
        epochs: that those have run.
        noise: of its results; None while nothing says.
        by_trials, by_epochs: best so far.
    """

    name: str
    subject: Subject
    best: Row
    trials: int
    epochs: int
    noise: Noise | None
    by_trials: Curve
    by_epochs: Curve


@dataclass(frozen=True, slots=True)
class Duel:
    """Two sweeps at an equal budget of epochs: the lesser of what the two have spent.

    Attributes:
        one, other: names.
        epochs: the budget.
        values: of each, as it happened.
        medians: of each, over resampled orders of the trials that had ended by then.
        p_one: share of resamples in which the first is better; ties are halved.
        ahead: trials of the one ahead that are better than the best of the other.
        p_chance: how likely so many are, or more, if the two searches are alike.
        low, high: 90% of by how much the first is better (negative: the other is).
        noise: how much two results differ by chance, in the metric; None while nothing says.
        verdict: in words.
        better: the name of the better one; "" where they are not distinguishable.
    """

    one: str
    other: str
    epochs: int
    values: tuple[float, float]
    medians: tuple[float, float]
    p_one: float
    ahead: int
    p_chance: float
    low: float
    high: float
    noise: float | None
    verdict: str
    better: str


@dataclass(frozen=True)
class Comparison:
    """All that is known of several sweeps side by side.

    Attributes:
        metric, direction, objective: the same in all of them.
        sides: one for each sweep, as they were named.
        duels: of all pairs, at an equal budget.
        agreements: of all pairs, on where the optimum is.
        cautions: what keeps the numbers from meaning what they seem to.
    """

    metric: str
    direction: str
    objective: str
    sides: tuple[Side, ...]
    duels: tuple[Duel, ...]
    agreements: tuple[Agreement, ...]
    cautions: tuple[str, ...]


def compare(subjects: Sequence[Subject], top_k: int = 5) -> Comparison:
    """Hold sweeps against each other.

    Args:
        subjects: two or more.
        top_k: how many of the best are looked at for agreement.

    Raises:
        CannotReport: if there are fewer than two different ones, or they are judged by different things.
        NothingFound: if one of them has no trial that is worth anything.
    """
    _expect_comparable(subjects)
    names = _names(subjects)
    courses = [course(subject) for subject in subjects]
    sides = tuple(
        _side(name, subject, each) for name, subject, each in zip(names, subjects, courses, strict=True)
    )
    pairs = list(combinations(range(len(sides)), 2))
    first = subjects[0].metrics[0]
    return Comparison(
        metric=first.name,
        direction=first.direction,
        objective=subjects[0].record.objective,
        sides=sides,
        duels=tuple(_duel(sides[a], sides[b], courses[a], courses[b]) for a, b in pairs),
        agreements=tuple(
            agreement(names[a], names[b], subjects[a], subjects[b], top_k=top_k) for a, b in pairs
        ),
        cautions=tuple(_cautions(names, subjects)),
    )


def as_json(found: Comparison) -> dict[str, Any]:
    """The comparison as JSON has it."""
    words: dict[str, Any] = plain(
        {
            "version": VERSION,
            "metric": found.metric,
            "direction": found.direction,
            "objective": found.objective,
            "sweeps": [
                {
                    "name": side.name,
                    "study": side.subject.name,
                    "trials": side.trials,
                    "epochs": side.epochs,
                    "best": asdict(side.best),
                    "noise": None if side.noise is None else asdict(side.noise),
                    "by_trials": asdict(side.by_trials),
                    "by_epochs": asdict(side.by_epochs),
                }
                for side in found.sides
            ],
            "at_equal_budget": [asdict(duel) for duel in found.duels],
            "agreement": [asdict(one) for one in found.agreements],
            "cautions": list(found.cautions),
        }
    )
    return words


def _expect_comparable(subjects: Sequence[Subject]) -> None:
    if len(subjects) < 2:
        raise CannotReport("compare: name two studies or more")
    places = [subject.folder for subject in subjects if subject.folder is not None]
    if len(set(places)) < len(places):
        raise CannotReport("compare: a study is named twice; name different ones")
    first = subjects[0]
    for other in subjects[1:]:
        for what, one, two in (
            ("metric", first.metric, other.metric),
            ("direction", first.metrics[0].direction, other.metrics[0].direction),
            ("objective", first.record.objective, other.record.objective),
        ):
            if one != two:
                raise CannotReport(
                    f"compare: {first.name} has {what} {one}, {other.name} has {two}: their values mean "
                    "different things; compare studies that share it"
                )
    for subject in subjects:
        if not subject.ranked():
            raise NothingFound(f"{subject.name}: no trial has a result, so there is nothing to compare")


def _names(subjects: Sequence[Subject]) -> list[str]:
    """Each study's name; where two have the same, its folder."""
    names = [subject.name for subject in subjects]
    return [
        name if names.count(name) == 1 else str(subject.folder or f"{name} ({place})")
        for place, (name, subject) in enumerate(zip(names, subjects, strict=True), start=1)
    ]


def _side(name: str, subject: Subject, seen: Course) -> Side:
    best, spent = resampled(seen, SEED)
    trials, epochs = len(seen.losses), int(seen.epochs.sum())
    counts = np.broadcast_to(np.arange(1.0, trials + 1), spent.shape)
    own = np.minimum.accumulate(seen.losses)[np.newaxis]
    return Side(
        name=name,
        subject=subject,
        best=row(subject, subject.ranked()[0], 1),
        trials=trials,
        epochs=epochs,
        noise=noise_of(subject),
        by_trials=_curve(subject.sign, trials, own, counts[:1], best, counts),
        by_epochs=_curve(subject.sign, epochs, own, np.cumsum(seen.epochs)[np.newaxis], best, spent),
    )


def _curve(sign: int, budget: int, own: Floats, own_spent: Floats, best: Floats, spent: Floats) -> Curve:
    places = np.unique(np.linspace(1, max(budget, 1), min(STEPS, max(budget, 1))).round())
    rows = []
    for place in places:
        losses = at_budget(best, spent, place)
        # Of orders of which some have nothing yet, a percentile would lie between a number and infinity.
        low, middle, high = np.percentile(losses, (BAND[0], 50.0, BAND[1]), method="nearest")
        rows.append((at_budget(own, own_spent, place)[0], low, middle, high))
    table = sign * np.array(rows)
    table[~np.isfinite(table)] = math.nan
    as_it_was, low, middle, high = (tuple(map(float, column)) for column in table.T)
    if sign < 0:
        low, high = high, low
    return Curve(tuple(map(float, places)), as_it_was, low, middle, high)


def _duel(one: Side, other: Side, first: Course, second: Course) -> Duel:
    sign, budget = one.subject.sign, min(one.epochs, other.epochs)
    drawn = [
        at_budget(*resampled(within(seen, budget), SEED + place), budget)
        for place, seen in enumerate((first, second), start=1)
    ]
    own = [
        float(at_budget(np.minimum.accumulate(seen.losses)[None], np.cumsum(seen.epochs)[None], budget)[0])
        for seen in (first, second)
    ]
    p_one = float(((drawn[0] < drawn[1]) + 0.5 * (drawn[0] == drawn[1])).mean())
    both = np.isfinite(drawn[0]) & np.isfinite(drawn[1])
    leads = (drawn[1] - drawn[0])[both]
    low, high = np.percentile(leads, BAND) if len(leads) else (math.nan, math.nan)
    medians = [float(np.percentile(each, 50.0, method="nearest")) for each in drawn]
    noise = _by_chance(one.noise, other.noise)
    known = [within(seen, budget).losses for seen in (first, second)]
    names = [one.name, other.name]
    if own[1] < own[0]:
        names, known = names[::-1], known[::-1]
    ahead, p_chance = precedence(*known)
    duel = Duel(
        one=one.name,
        other=other.name,
        epochs=budget,
        values=(sign * own[0], sign * own[1]),
        medians=(sign * medians[0], sign * medians[1]),
        p_one=p_one,
        ahead=ahead,
        p_chance=p_chance,
        low=float(low),
        high=float(high),
        noise=noise,
        verdict="",
        better="",
    )
    return _judged(duel, names, same_data=len(_data([one.subject, other.subject])) < 2)


def _by_chance(one: Noise | None, other: Noise | None) -> float | None:
    """How far two results differ by chance: a standard deviation of their difference."""
    known = [noise.std for noise in (one, other) if noise is not None]
    return math.hypot(known[0], known[-1]) if known else None


def _judged(duel: Duel, names: Sequence[str], *, same_data: bool) -> Duel:
    """With a verdict; `names` begins with the one ahead."""
    if not same_data:
        return replace(duel, verdict=OTHER_DATA)
    first, second = names
    seen = f"the best {duel.ahead} of {first} beat the best of {second}" if duel.ahead else "neither is ahead"
    if duel.p_chance > CHANCE:
        chance = f"{duel.p_chance:.2g} by chance alone"
        return replace(duel, verdict=f"not distinguishable: {seen}, {chance} ({CHANCE:g} is asked for)")
    lead = abs(duel.values[0] - duel.values[1])
    if duel.noise is not None and lead <= duel.noise:
        words = f"not distinguishable: they differ by {lead:.3g}, two trainings by {duel.noise:.3g}"
        return replace(duel, verdict=words)
    words = f"{first} is better: {seen}, {duel.p_chance:.2g} by chance alone"
    return replace(duel, verdict=words, better=first)


def _data(subjects: Sequence[Subject]) -> set[str]:
    """Fingerprints of the data, as far as they are known."""
    return {str(subject.record.provenance.get("data_fingerprint", "")) for subject in subjects} - {""}


def _cautions(names: Sequence[str], subjects: Sequence[Subject]) -> list[str]:
    cautions = []
    if len(_data(subjects)) > 1:
        cautions.append("the studies were trained on different data: their values mean different things")
    epochs = {subject.epochs for subject in subjects}
    if len(epochs) > 1:
        long = ", ".join(f"{name} {subject.epochs}" for name, subject in zip(names, subjects, strict=True))
        cautions.append(f"a whole trial has not the same epochs in all: {long}")
    cautions += [
        f"{name} is a population: its members copied each other, so its interval is a guess"
        for name, subject in zip(names, subjects, strict=True)
        if subject.is_population
    ]
    running = [name for name, subject in zip(names, subjects, strict=True) if subject.state == "running"]
    cautions += [f"{name} still runs" for name in running]
    if any(len(subject.ranked()) < 10 for subject in subjects):
        cautions.append("fewer than ten trials count in one of them: take this as a hint")
    return cautions
