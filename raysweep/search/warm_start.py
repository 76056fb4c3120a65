"""Warm start from earlier studies: observations if the spaces agree, points to try first if not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.samplers import GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.samplers import quiet, sampler_class
from schedulers.space import Categorical, Domain

TOP = 5
"""Number of points taken from a study with another space."""

OBSERVERS = (TPESampler, GPSampler)
"""Samplers that learn from any trial. The others follow generations or sequences of their own."""


@dataclass(frozen=True)
class EarlierTrial:
    """A trial of an earlier study.

    Attributes:
        config: flat.
        loss: its score, lower is better.
        epoch: its last epoch.
        completed: whether it completed; else it was stopped there.
    """

    config: Mapping[str, Any]
    loss: float
    epoch: int
    completed: bool


@dataclass(frozen=True)
class WarmStart:
    """What is taken from earlier studies.

    Attributes:
        observed: trials shown to the sampler as if they were this study's, oldest first.
        points: configurations to try first, flat and possibly partial.
        notes: sentences for the user.
    """

    observed: tuple[EarlierTrial, ...] = ()
    points: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = field(default=())


def warm_start_from(
    name: str,
    trials: Sequence[EarlierTrial],
    theirs: OptunaSpace,
    ours: OptunaSpace,
    sampler: str,
    objectives: int = 1,
    *,
    same_task: bool = True,
) -> WarmStart:
    """What a new study can use of one earlier study.

    Args:
        name: of the earlier study, for the notes.
        trials: of the earlier study, by number.
        theirs: its search space.
        ours: the new search space.
        sampler: dotted path of the new study's sampler.
        objectives: of the new study; with several, earlier trials cannot be observations.
        same_task: whether losses are on the same scale: the same data and criterion. Losses of other
            data shown as if they were this study's made it worse (benchmarks/warm_start.py: 5.2 points of
            regret on digits after cancer); the same configurations tried as points did no harm.
    """
    if not trials:
        return WarmStart(notes=(f"{name}: none of its trials reported a result; nothing is taken",))
    observable = _within(ours, theirs) and same_task and objectives == 1
    if observable and issubclass(sampler_class(sampler), OBSERVERS):
        usable = tuple(trial for trial in trials if ours.contains(trial.config))
        which = "the same space" if theirs == ours else "a part of its space"
        return WarmStart(usable, notes=(f"{name}: {which}; {len(usable)} trials are known to the sampler",))
    best = sorted(trials, key=lambda trial: (not trial.completed, trial.loss))[:TOP]
    points, dropped = [], set()
    for trial in best:
        fits = {key: value for key, value in trial.config.items() if ours.allows(key, value)}
        dropped |= {key for key in trial.config if key not in fits}
        if fits and fits not in points:
            points.append(fits)
    lost = f", without {', '.join(sorted(dropped))} (not searched here, or out of range)" if dropped else ""
    if not _within(ours, theirs):
        why = "another space"
    elif not same_task:
        why = "other data or another criterion, whose losses cannot be compared"
    else:
        why = "this search can learn from its own trials only"
    note = f"{name}: {why}; its best {len(points)} are tried first{lost}"
    if not points:
        note = f"{name}: {why}; none of its parameters is searched here"
    return WarmStart(points=tuple(points), notes=(note,))


def _within(inner: OptunaSpace, outer: OptunaSpace) -> bool:
    """Whether one space lies within another, with the same parameters and conditions."""
    return (inner.domains.keys(), inner.when, inner.keys) == (
        outer.domains.keys(),
        outer.when,
        outer.keys,
    ) and all(_part_of(domain, outer.domains[name]) for name, domain in inner.domains.items())


def _part_of(inner: Domain, outer: Domain) -> bool:
    if isinstance(inner, Categorical) or isinstance(outer, Categorical):
        return isinstance(inner, Categorical) and all(map(outer.contains, inner.choices))
    same = (type(inner), inner.log, inner.step) == (type(outer), outer.log, outer.step)
    return same and outer.low <= inner.low and inner.high <= outer.high


def merge_warm_starts(parts: Sequence[WarmStart]) -> WarmStart:
    """Combine what is taken from several studies."""
    return WarmStart(
        tuple(trial for part in parts for trial in part.observed),
        tuple(point for part in parts for point in part.points),
        tuple(note for part in parts for note in part.notes),
    )


def as_trials(observed: Sequence[EarlierTrial], space: OptunaSpace) -> list[FrozenTrial]:
    """Earlier trials as Optuna's, each with number -1, below any of a study's own."""
    with quiet():
        study = optuna.create_study(sampler=RandomSampler(seed=0))
        for earlier in observed:
            study.enqueue_trial(space.encode(earlier.config))
            trial = study.ask()
            space.draw(trial)
            trial.report(earlier.loss, earlier.epoch)
            if earlier.completed:
                study.tell(trial, earlier.loss)
            else:
                study.tell(trial, state=TrialState.PRUNED)
        trials = study.get_trials()
    for each in trials:
        each.number = -1
    return trials
