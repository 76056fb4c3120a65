"""What a sampler is shown of a study: trials as it should take them, which is not as Optuna files them.

To Optuna a trial that waits is running and one that failed never was. A sampler that goes by this
passes over most of what a sweep under a trial scheduler knows, and asks again and again where
trainings diverge. See docs/decisions/0005 and 0007.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

import numpy as np
from optuna.trial import FrozenTrial, TrialState

FEW = 3
"""Complete trials from which on their distribution says more than none."""

REGION = ("diverged", "failed", "infeasible")
"""Outcomes that say something of the configuration: another one near it may well end so too."""


def trials_for_sampler(
    trials: Sequence[FrozenTrial],
    waiting: Collection[int],
    *,
    ranks_pruned: bool,
    constraints: Sequence[str] = (),
) -> dict[int, FrozenTrial]:
    """The trials that are shown otherwise than they are, by number.

    - One that waits is shown as pruned where it stands.
    - One that diverged, failed or cannot be run is shown as worse than all: to a sampler that ranks
      pruned trials as one pruned before its first report, to others as complete with the worst value
      that any trial has. As long as none has a value there is nothing to be worse than: it stays unseen.

    Args:
        trials: all of the study, by number.
        waiting: numbers of those that wait and have reported.
        ranks_pruned: whether the sampler ranks pruned trials behind complete ones (TPE does).
        constraints: names that every finished trial has a value for, as some samplers insist.
    """
    instead: dict[int, FrozenTrial] = {}
    for number in waiting:
        if trials[number].state == TrialState.RUNNING:
            instead[number] = _copied(trials[number], TrialState.PRUNED)
    worst = _worst(trials)
    if worst is None:
        return instead
    for trial in trials:
        if trial.state == TrialState.FAIL and trial.params and trial.user_attrs.get("outcome") in REGION:
            shown = _copied(trial, TrialState.PRUNED if ranks_pruned else TrialState.COMPLETE)
            shown.values = None if ranks_pruned else worst
            if ranks_pruned:
                shown.intermediate_values = {}
            missing = [name for name in constraints if name not in trial.constraints]
            shown.system_attrs = {**trial.system_attrs}
            for name in missing:  # unknown: neither held nor broken
                shown.set_constraint(name, 0.0)
            instead[trial.number] = shown
    return instead


def _copied(trial: FrozenTrial, state: TrialState) -> FrozenTrial:
    shown = copy.copy(trial)
    shown.state = state
    return shown


def _worst(trials: Sequence[FrozenTrial]) -> list[float] | None:
    """The largest value of each objective, of all complete trials; of the stopped, while none is complete."""
    complete = [trial.values for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        complete = [[trial.value] for trial in trials if trial.state == TrialState.PRUNED and trial.values]
    if not complete:
        return None
    return [max(column) for column in zip(*complete, strict=True)]


def earlier_trials_for_sampler(
    observed: Sequence[FrozenTrial], own: Sequence[FrozenTrial]
) -> list[FrozenTrial]:
    """Trials of earlier studies as they are shown before this study's own.

    Each trial that this study has finished takes the place of one of them, the oldest first: an earlier
    study helps at the start, and is forgotten in time whatever it was about. Once both studies have a
    few complete trials, the earlier losses are put onto this study's scale by their rank: the best of
    theirs becomes the best of ours, the median the median.
    """
    kept = observed[sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in own) :]
    theirs, mine = _complete_losses(observed), _complete_losses(own)
    if min(len(theirs), len(mine)) < FEW:
        return list(kept)
    return [_rescaled(trial, theirs, mine) for trial in kept]


def _complete_losses(trials: Sequence[FrozenTrial]) -> list[float]:
    complete = [trial.values for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(values[0] for values in complete)


def _rescaled(trial: FrozenTrial, theirs: Sequence[float], mine: Sequence[float]) -> FrozenTrial:
    def ours(loss: float) -> float:
        rank = np.interp(loss, theirs, np.linspace(0.0, 1.0, len(theirs)))
        return float(np.interp(rank, np.linspace(0.0, 1.0, len(mine)), mine))

    shown = copy.copy(trial)
    shown.intermediate_values = {step: ours(loss) for step, loss in trial.intermediate_values.items()}
    shown.values = None if trial.values is None else [ours(loss) for loss in trial.values]
    return shown
