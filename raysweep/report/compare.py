"""Several sweeps side by side: what each found, whether one method is better, and whether they agree.

A side is one sweep, or several of one method with their own seeds; `compare_at_equal_budget` tests sides.
Beside the real order of the trials, their best so far is shown for orders drawn with replacement: the luck
within one search, not that of another search of its kind. No resample is better than the best there was, so a
band's good side is too narrow (Bickel & Freedman, Ann. Stat. 9 (1981) 1196, on the bootstrap of an extreme).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from string import ascii_uppercase
from typing import Any

import numpy as np

from raysweep.report.agreement import CHANCE, Agreement, agreement
from raysweep.report.equal_budget import (
    SEED,
    EqualBudgetComparison,
    Obstacle,
    Side,
    compare_at_equal_budget,
    data_of,
)
from raysweep.report.errors import CannotReport, NothingFound
from raysweep.report.formatting import plain
from raysweep.report.noise import Noise, noise_of
from raysweep.report.rank_test import sweeps_a_side
from raysweep.report.retrained_comparison import RetrainedComparison, compare_retrained
from raysweep.report.subject import Subject
from raysweep.report.tables import Row, row
from raysweep.report.trajectory import Floats, at_budget, resampled, trajectory

VERSION = 2
BAND = (5.0, 95.0)  # percentiles
STEPS = 60  # points of a curve


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
class SweepSummary:
    """One sweep of a comparison.

    Attributes:
        name: of the study; its folder if two have the same.
        side: the name of its side.
        subject: the study.
        best: its winner.
        trials: that have ended.
        epochs: that those have run.
        noise: of its results; None if it is not known.
        by_trials, by_epochs: best so far.
    """

    name: str
    side: str
    subject: Subject
    best: Row
    trials: int
    epochs: int
    noise: Noise | None
    by_trials: Curve
    by_epochs: Curve


@dataclass(frozen=True)
class Comparison:
    """Several sweeps side by side.

    Attributes:
        metric, direction, objective: the same in all of them.
        sweeps: in the order given.
        duels: comparisons of all pairs of sides at an equal budget.
        retrained: of all pairs of sides of one sweep each that were retrained.
        agreements: of all pairs of sides of one sweep each, on where the optimum is.
        how_to_test: what would allow a test if one sweep per side does not; else "".
        cautions: why the numbers may mislead.
    """

    metric: str
    direction: str
    objective: str
    sweeps: tuple[SweepSummary, ...]
    duels: tuple[EqualBudgetComparison, ...]
    retrained: tuple[RetrainedComparison, ...]
    agreements: tuple[Agreement, ...]
    how_to_test: str
    cautions: tuple[str, ...]


def compare(groups: Sequence[Sequence[Subject]], top_k: int = 5) -> Comparison:
    """Compare sweeps.

    Args:
        groups: two or more sides, each of one sweep or several of one method.
        top_k: how many of the best are compared for agreement.

    Raises:
        CannotReport: if there are fewer than two sides of different studies, or their metric, direction or
            objective differ.
        NothingFound: if one of them has no ranked trial.
    """
    subjects = [subject for group in groups for subject in group]
    _expect_comparable(groups, subjects)
    names = _names(subjects)
    sides = list(_sides(groups, names))
    pairs = list(combinations(sides, 2))
    level = CHANCE / len(pairs)
    duels = tuple(compare_at_equal_budget(one, other, level) for one, other in pairs)
    single = [(one, other) for one, other in pairs if len(one.sweeps) == len(other.sweeps) == 1]
    retrained = [
        compare_retrained(one.name, other.name, one.subjects[0], other.subjects[0], level)
        for one, other in single
        if len(data_of([*one.subjects, *other.subjects])) < 2
    ]
    first = subjects[0].metrics[0]
    return Comparison(
        metric=first.name,
        direction=first.direction,
        objective=subjects[0].record.objective,
        sweeps=tuple(summary for side in sides for summary in _summaries(side)),
        duels=duels,
        retrained=tuple(each for each in retrained if each is not None),
        agreements=tuple(
            agreement(one.name, other.name, one.subjects[0], other.subjects[0], top_k=top_k)
            for one, other in single
        ),
        how_to_test=_how_to_test() if Obstacle.ONE_SWEEP_A_SIDE in {each.obstacle for each in duels} else "",
        cautions=tuple(_cautions(names, subjects)),
    )


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON-serializable fields."""
    fields: dict[str, Any] = plain(
        {
            "version": VERSION,
            "metric": comparison.metric,
            "direction": comparison.direction,
            "objective": comparison.objective,
            "sweeps": [
                {
                    "name": each.name,
                    "side": each.side,
                    "study": each.subject.name,
                    "trials": each.trials,
                    "epochs": each.epochs,
                    "best": asdict(each.best),
                    "noise": None if each.noise is None else asdict(each.noise),
                    "by_trials": asdict(each.by_trials),
                    "by_epochs": asdict(each.by_epochs),
                }
                for each in comparison.sweeps
            ],
            "at_equal_budget": [asdict(each) for each in comparison.duels],
            "retrained": [asdict(each) for each in comparison.retrained],
            "agreement": [asdict(one) for one in comparison.agreements],
            "how_to_test": comparison.how_to_test,
            "cautions": list(comparison.cautions),
        }
    )
    return fields


def _expect_comparable(groups: Sequence[Sequence[Subject]], subjects: Sequence[Subject]) -> None:
    if len(groups) < 2 or not all(groups):
        raise CannotReport("compare: name two studies or more, or studies on both sides of --")
    folders = [subject.folder for subject in subjects if subject.folder is not None]
    if len(set(folders)) < len(folders):
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
    """Each study's name; its folder if two have the same."""
    names = [subject.name for subject in subjects]
    return [
        name if names.count(name) == 1 else str(subject.folder or f"{name} ({number})")
        for number, (name, subject) in enumerate(zip(names, subjects, strict=True), start=1)
    ]


def _sides(groups: Sequence[Sequence[Subject]], names: Sequence[str]) -> Iterator[Side]:
    """The sides, named after their only study, or by letters if one of them has several."""
    remaining = iter(names)
    lettered = any(len(group) > 1 for group in groups)
    for index, group in enumerate(groups):
        own = tuple(next(remaining) for _ in group)
        noises = [noise for subject in group if (noise := noise_of(subject)) is not None]
        yield Side(
            name=ascii_uppercase[index % len(ascii_uppercase)] if lettered else own[0],
            sweeps=own,
            subjects=tuple(group),
            courses=tuple(map(trajectory, group)),
            noise=noises[0] if noises else None,
        )


def _summaries(side: Side) -> Iterator[SweepSummary]:
    for name, subject, course in zip(side.sweeps, side.subjects, side.courses, strict=True):
        best, spent = resampled(course, SEED)
        trials, epochs = len(course.losses), int(course.epochs.sum())
        counts = np.broadcast_to(np.arange(1.0, trials + 1), spent.shape)
        own = np.minimum.accumulate(course.losses)[np.newaxis]
        yield SweepSummary(
            name=name,
            side=side.name,
            subject=subject,
            best=row(subject, subject.ranked()[0], 1),
            trials=trials,
            epochs=epochs,
            noise=noise_of(subject),
            by_trials=_curve(subject.sign, trials, own, counts[:1], best, counts),
            by_epochs=_curve(subject.sign, epochs, own, np.cumsum(course.epochs)[np.newaxis], best, spent),
        )


def _curve(sign: int, budget: int, own: Floats, own_spent: Floats, best: Floats, spent: Floats) -> Curve:
    budgets = np.unique(np.linspace(1, max(budget, 1), min(STEPS, max(budget, 1))).round())
    rows = []
    for one in budgets:
        losses = at_budget(best, spent, one)
        # Not interpolated: orders without a trial yet are infinite.
        low, middle, high = np.percentile(losses, (BAND[0], 50.0, BAND[1]), method="nearest")
        rows.append((at_budget(own, own_spent, one)[0], low, middle, high))
    table = sign * np.array(rows)
    table[~np.isfinite(table)] = math.nan
    real, low, middle, high = (tuple(map(float, column)) for column in table.T)
    if sign < 0:
        low, high = high, low
    return Curve(tuple(map(float, budgets)), real, low, middle, high)


def _how_to_test() -> str:
    """What would allow a test, with placeholder names for the sweeps to run."""
    numbers = range(1, sweeps_a_side(CHANCE) + 1)
    sides = " -- ".join(" ".join(f"{letter}{number}" for number in numbers) for letter in "AB")
    return (
        "one sweep per side cannot test which method is better, as the trials of one search depend on each "
        f"other: run {numbers[-1]} sweeps per side, each with its own --set seed=N and --name, then "
        f"python launch.py compare {sides}"
    )


def _cautions(names: Sequence[str], subjects: Sequence[Subject]) -> list[str]:
    cautions = []
    if len(data_of(subjects)) > 1:
        cautions.append("the studies were trained on different data: their values mean different things")
    epochs = {subject.epochs for subject in subjects}
    if len(epochs) > 1:
        long = ", ".join(f"{name} {subject.epochs}" for name, subject in zip(names, subjects, strict=True))
        cautions.append(f"a whole trial has a different number of epochs in each: {long}")
    cautions += [
        f"{name} is a population: its members copied each other, so its resampled orders are only a guess"
        for name, subject in zip(names, subjects, strict=True)
        if subject.is_population
    ]
    running = [name for name, subject in zip(names, subjects, strict=True) if subject.state == "running"]
    cautions += [f"{name} is still running" for name in running]
    if len(subjects) == 2 and any(len(subject.ranked()) < 10 for subject in subjects):
        cautions.append("one of them has fewer than ten ranked trials: take this as a hint")
    return cautions
