"""What earlier studies give a new one: observations where the spaces agree, points to try where not."""

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
"""Points that a study of another space gives."""

OBSERVERS = (TPESampler, GPSampler)
"""Samplers that learn from any trial. The others go by generations or sequences of their own."""


@dataclass(frozen=True)
class EarlierTrial:
    """A trial of an earlier study.

    Attributes:
        config: flat.
        loss: what it is worth, lower is better.
        epoch: how far it came.
        completed: whether that was all it was given; else it was stopped there.
    """

    config: Mapping[str, Any]
    loss: float
    epoch: int
    completed: bool


@dataclass(frozen=True)
class WarmStart:
    """What is taken of earlier studies.

    Attributes:
        observed: trials the sampler is shown as if they were this study's, oldest first.
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
    """What of one earlier study a new one can use.

    Args:
        name: of the earlier study, for the notes.
        trials: of the earlier study, by number.
        theirs: the space it searched.
        ours: the space to search now.
        sampler: dotted path of the sampler that searches it.
        objectives: how many it is to minimise: of several, earlier trials are no observations.
        same_task: whether its losses are on this one's scale: the same data and criterion. Losses of other
            data shown as if they were this study's made it worse (benchmarks/warm_start.py: 5.2 points of
            regret on digits after cancer); the same configurations tried as points did no harm.
    """
    if not trials:
        return WarmStart(notes=(f"{name}: no trial of it reported anything; nothing is taken",))
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
        why = "other data or another criterion, whose losses do not compare"
    else:
        why = "the search goes by its own trials only"
    note = f"{name}: {why}; its best {len(points)} are tried first{lost}"
    if not points:
        note = f"{name}: {why}; nothing that it searched is searched here"
    return WarmStart(points=tuple(points), notes=(note,))


def _within(inner: OptunaSpace, outer: OptunaSpace) -> bool:
    """Whether one space is another, or a part of it: the same parameters under the same conditions."""
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
    """What several studies give."""
    return WarmStart(
        tuple(trial for part in parts for trial in part.observed),
        tuple(point for part in parts for point in part.points),
        tuple(note for part in parts for note in part.notes),
    )


def as_trials(observed: Sequence[EarlierTrial], space: OptunaSpace) -> list[FrozenTrial]:
    """Earlier trials as Optuna's, each numbered -1: older than any of a study's own."""
    with quiet():
        study = optuna.create_study(sampler=RandomSampler(seed=0))
        for known in observed:
            study.enqueue_trial(space.encode(known.config))
            trial = study.ask()
            space.draw(trial)
            trial.report(known.loss, known.epoch)
            if known.completed:
                study.tell(trial, known.loss)
            else:
                study.tell(trial, state=TrialState.PRUNED)
        trials = study.get_trials()
    for each in trials:
        each.number = -1
    return trials
