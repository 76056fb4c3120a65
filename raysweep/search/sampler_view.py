"""The view of a study's trials that samplers learn from, which differs from Optuna's states.

To Optuna a paused trial is running, and a failed one tells nothing. A sampler would then ignore most of the
results of a sweep with a trial scheduler, and propose configurations that diverge again and again. See
docs/decisions/0005 and 0007.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

import numpy as np
from optuna.trial import FrozenTrial, TrialState

FEW = 3
"""Least number of complete trials for a comparison of their distributions."""

REGION = ("diverged", "failed", "infeasible")
"""Outcomes that similar configurations are likely to have, too."""


def trials_for_sampler(
    trials: Sequence[FrozenTrial],
    waiting: Collection[int],
    *,
    ranks_pruned: bool,
    constraints: Sequence[str] = (),
) -> dict[int, FrozenTrial]:
    """Replacements of trials that are shown in another state, by number.

    - A paused trial is shown as pruned at its last epoch.
    - A trial that diverged, failed or is infeasible is shown as worse than all: to a sampler that ranks
      pruned trials as pruned before its first report, to others as complete with the worst value of
      any trial. While no trial has a value, it is not shown.

    Args:
        trials: all of the study, by number.
        waiting: numbers of paused trials that have reported.
        ranks_pruned: whether the sampler ranks pruned trials behind complete ones (TPE does).
        constraints: names of which every finished trial gets a value, as some samplers require.
    """
    replaced: dict[int, FrozenTrial] = {}
    for number in waiting:
        if trials[number].state == TrialState.RUNNING:
            replaced[number] = _with_state(trials[number], TrialState.PRUNED)
    worst = _worst(trials)
    if worst is None:
        return replaced
    for trial in trials:
        if trial.state == TrialState.FAIL and trial.params and trial.user_attrs.get("outcome") in REGION:
            shown = _with_state(trial, TrialState.PRUNED if ranks_pruned else TrialState.COMPLETE)
            shown.values = None if ranks_pruned else worst
            if ranks_pruned:
                shown.intermediate_values = {}
            missing = [name for name in constraints if name not in trial.constraints]
            shown.system_attrs = {**trial.system_attrs}
            for name in missing:  # unknown, so neither satisfied nor broken
                shown.set_constraint(name, 0.0)
            replaced[trial.number] = shown
    return replaced


def _with_state(trial: FrozenTrial, state: TrialState) -> FrozenTrial:
    shown = copy.copy(trial)
    shown.state = state
    return shown


def _worst(trials: Sequence[FrozenTrial]) -> list[float] | None:
    """The largest value of each objective of complete trials; of stopped ones while none is complete."""
    complete = [trial.values for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        complete = [[trial.value] for trial in trials if trial.state == TrialState.PRUNED and trial.values]
    if not complete:
        return None
    return [max(column) for column in zip(*complete, strict=True)]


def earlier_trials_for_sampler(
    observed: Sequence[FrozenTrial], own: Sequence[FrozenTrial]
) -> list[FrozenTrial]:
    """Trials of earlier studies as shown before this study's own.

    Each finished trial of this study replaces one of them, the oldest first, so that an earlier study helps
    at the start and is forgotten with time. Once both studies have `FEW` complete trials, the earlier losses
    are mapped to this study's scale by rank: their best becomes our best, their median our median.
    """
    kept = observed[sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in own) :]
    earlier, own_losses = _complete_losses(observed), _complete_losses(own)
    if min(len(earlier), len(own_losses)) < FEW:
        return list(kept)
    return [_rescaled(trial, earlier, own_losses) for trial in kept]


def _complete_losses(trials: Sequence[FrozenTrial]) -> list[float]:
    complete = [trial.values for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(values[0] for values in complete)


def _rescaled(trial: FrozenTrial, earlier: Sequence[float], own_losses: Sequence[float]) -> FrozenTrial:
    def rescale(loss: float) -> float:
        rank = np.interp(loss, earlier, np.linspace(0.0, 1.0, len(earlier)))
        return float(np.interp(rank, np.linspace(0.0, 1.0, len(own_losses)), own_losses))

    shown = copy.copy(trial)
    shown.intermediate_values = {step: rescale(loss) for step, loss in trial.intermediate_values.items()}
    shown.values = None if trial.values is None else [rescale(loss) for loss in trial.values]
    return shown
