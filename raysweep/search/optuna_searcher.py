"""The searcher over an Optuna sampler, with its study in memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from raysweep.config.constraint import Constraint
from raysweep.config.sweep import RESERVED, SEED_KEY
from raysweep.search.initial_points import InitialPoints, Proposal
from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.sampler_storage import StudyStorage
from raysweep.search.sampler_view import earlier_trials_for_sampler, trials_for_sampler
from raysweep.search.samplers import (
    OWN_DRAWS,
    PerTrialSampler,
    check_sampler,
    exhaustive_cells,
    grid_with_points,
    is_grid,
    make_sampler,
    quiet,
    sampler_class,
    without_warnings,
)
from raysweep.search.searcher import Searcher
from raysweep.search.warm_start import WarmStart, as_trials
from schedulers.trial_id import trial_id as to_trial_id

TPE = "optuna.samplers.TPESampler"
DRAWS = 5 * OWN_DRAWS
"""Draws for one trial, the sampler's own and random ones, before a duplicate is accepted."""

Duplicates = Literal["skip", "reuse", "replicate", "allow"]


class OptunaSearcher(Searcher):
    """Proposes the configurations of an Optuna sampler, and reports the results to it.

    Losses are lower-is-better, and the study always minimizes.

    Args:
        space: the search space.
        sampler: dotted path of an Optuna sampler.
        sampler_kwargs: its arguments; see `make_sampler` for those that are filled in.
        seed: >= 0; the same seed and history give the same configurations.
        baseline: the configuration that the user would run without a search (flat; keys that are
            not searched are ignored). It is tried first, unless it lies outside the space.
        points: configurations to try next, flat; the sampler completes partial ones.
        others: objectives beside the loss: by metric, +1 if lower is better, -1 if higher.
        constraints: on a trial's metrics.
        warm: taken from earlier studies.
        duplicates: what happens with a configuration that was tried already: `skip` draws another, `reuse`
            takes its result, `replicate` runs it with another seed, `allow` runs it again.
        seeds: of trainings; the first is every trial's, the others are for replicates.
        study_name: the name under which `export` writes the study.

    Attributes:
        notes: sentences for the user: what the sampler draws at random, why a baseline is skipped.

    Raises:
        ValueError: if the sampler cannot handle the space, or a point lies outside it.
    """

    def __init__(
        self,
        space: OptunaSpace,
        *,
        sampler: str = TPE,
        sampler_kwargs: Mapping[str, Any] | None = None,
        seed: int = 42,
        baseline: Mapping[str, Any] | None = None,
        points: Sequence[Mapping[str, Any]] = (),
        others: Mapping[str, int] | None = None,
        constraints: Sequence[Constraint] = (),
        warm: WarmStart | None = None,
        duplicates: Duplicates = "allow",
        seeds: Sequence[int] = (0,),
        study_name: str = "sweep",
    ) -> None:
        kwargs, warm = dict(sampler_kwargs or {}), warm or WarmStart()
        self.space, self.sampler, self.study_name = space, sampler, study_name
        self.others, self.constraints = dict(others or {}), tuple(constraints)
        self.duplicates, self.seeds = duplicates, tuple(seeds)
        self.notes = check_sampler(sampler, kwargs, space, 1 + len(self.others))
        self._cells = exhaustive_cells(sampler, kwargs, space)
        once = duplicates == "skip"
        self._initial = _initial_points(space, sampler, baseline, [*points, *warm.points], once)
        self.notes += self._initial.notes
        self._earlier = as_trials(warm.observed, space)
        self._ranks_pruned = issubclass(sampler_class(sampler), TPESampler)
        self._trials_of: dict[tuple[Any, ...], list[str]] = {}
        self._ended: dict[str, str] = {}
        self._running: dict[str, optuna.Trial] = {}
        self._steps: dict[str, set[int]] = {}
        self._waiting: set[str] = set()
        make = functools.partial(make_sampler, sampler, kwargs, space, seed)
        self._sampler_of_study = PerTrialSampler(make)
        self._storage_of_study = StudyStorage()
        with quiet():
            self.study = optuna.create_study(
                storage=self._storage_of_study,
                sampler=self._sampler_of_study,
                pruner=optuna.pruners.NopPruner(),
                study_name=study_name,
                directions=["minimize"] * (1 + len(self.others)),
            )

    def finish(self) -> OptunaSearcher:
        """Return itself, since nothing was held back; see `DeterministicOrderSearcher`."""
        return self

    def ask(self, number: int, trial_id: str = "") -> Proposal | None:
        """The proposal for trial `number`; None if all configurations were tried.

        Args:
            number: the next number.
            trial_id: the trial's id in `report` and `tell`; by default its number with five digits.

        Raises:
            ValueError: if `number` is not the next one, or the sampler fails.
        """
        self._check_number(number)
        if self._all_tried():
            return None
        name, source = trial_id or to_trial_id(number), self._initial.source(number)
        fixed = self._initial.take(source)
        config, draws = self._draw(name, source, fixed), 1
        twins = self._twins(config)
        while self._is_unwanted(twins) and source == "sampler" and draws < DRAWS:
            config, draws = self._draw_again(name), draws + 1
            twins = self._twins(config)
        self._remember(name, config)
        if twins and self.duplicates == "replicate":
            config = {**config, SEED_KEY: self._seed_of_copy(len(twins))}
        ended = [twin for twin in twins if twin in self._ended]
        same_as = ended[0] if ended and self.duplicates == "reuse" else ""
        return Proposal(config, source, draws, same_as)

    def report(self, trial_id: str, step: int, loss: float | None) -> None:
        """Note a loss after `step` epochs; non-finite and repeated ones are ignored."""
        self._waiting.discard(trial_id)
        if trial_id not in self._running or loss is None or not math.isfinite(loss):
            return
        if step not in self._steps[trial_id]:
            self._steps[trial_id].add(step)
            if not self.others:  # Optuna accepts no intermediate values with several objectives
                self._running[trial_id].report(float(loss), step)

    def paused(self, trial_id: str) -> None:
        """Note that a trial was paused: until it is resumed, samplers see it as stopped at its last epoch."""
        if trial_id in self._running:
            self._waiting.add(trial_id)

    def resumed(self, trial_id: str) -> None:
        """Note that a paused trial continues."""
        self._waiting.discard(trial_id)

    def tell(
        self,
        trial_id: str,
        outcome: str,
        loss: float | None,
        reason: str = "",
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Note how a trial ended; unknown and already ended trials are ignored.

        Args:
            trial_id: as in `report`.
            outcome: completed (COMPLETE with its loss), stopped (PRUNED, ranked by its last report),
                or diverged, failed, infeasible (FAIL).
            loss: of a completed trial; without a finite one it counts as failed.
            reason: kept with the outcome in the trial's user attributes.
            metrics: of the epoch that gives its score, for other objectives and constraints.
        """
        trial = self._running.pop(trial_id, None)
        if trial is None:
            return
        del self._steps[trial_id]
        self._waiting.discard(trial_id)
        self._ended[trial_id] = outcome
        trial.set_user_attr("outcome", outcome)
        if reason:
            trial.set_user_attr("reason", reason)
        for constraint in self.constraints if metrics else ():
            trial.set_constraint(str(constraint), constraint.violation(metrics or {}))
        values = [loss, *self._other_losses(metrics or {})]
        with without_warnings():
            if outcome == "completed" and all(value is not None and math.isfinite(value) for value in values):
                self.study.tell(trial, [float(value or 0.0) for value in values], state=TrialState.COMPLETE)
            else:
                state = TrialState.PRUNED if outcome == "stopped" else TrialState.FAIL
                self.study.tell(trial, state=state)

    def replay_asked(self, number: int, config: Mapping[str, Any], source: str, draws: int = 1) -> None:
        """Add a trial of the journal as running; `report` and `tell` then work as in a live study.

        A configuration outside the space (the study was revised since) keeps its number, but the sampler does
        not learn from it.

        Raises:
            ValueError: if `number` is not the next one.
        """
        self._check_number(number)
        name = to_trial_id(number)
        config = {key: value for key, value in config.items() if not key.startswith(RESERVED)}
        fixed = self._initial.take(source)
        if not self.space.contains(config):
            note = {
                "source": source,
                "reason": "outside the present search space",
                "config": repr(dict(config)),
            }
            self.study.add_trial(optuna.create_trial(state=TrialState.FAIL, values=None, user_attrs=note))
            return
        values = self.space.encode(config)
        if fixed is not None:  # fix the same parameters as when it was asked, to the recorded values
            fixed = {key: values[key] for key in fixed or values if key in values}
        with self._sampler_of_study.replaying(values):
            self._draw(name, source, fixed)
            for _ in range(1, draws):
                self._draw_again(name)
        self._remember(name, config)

    def trials_now(self) -> list[FrozenTrial]:
        """The study's trials as stored, not as shown to samplers; may be called from any thread."""
        return self._storage_of_study.stored_trials(self.study._study_id)

    def _draw(self, trial_id: str, source: str, fixed: Mapping[str, Any] | None) -> dict[str, Any]:
        with without_warnings(), self._storage_of_study.showing(self._make_view):
            if fixed is not None:
                self.study.enqueue_trial(dict(fixed))
            trial = self.study.ask()
            config = self.space.draw(trial)
        trial.set_user_attr("source", source)
        self._running[trial_id] = trial
        self._steps[trial_id] = set()
        return config

    def _draw_again(self, trial_id: str) -> dict[str, Any]:
        """Draw another configuration for a trial, as if it were drawn for the first time."""
        key = self._storage_of_study.forget_draw(self._running[trial_id].number)
        with without_warnings(), self._storage_of_study.showing(self._make_view):
            self._running[trial_id] = optuna.Trial(self.study, key)
            return self.space.draw(self._running[trial_id])

    def _make_view(self) -> tuple[dict[int, FrozenTrial], list[FrozenTrial]]:
        own = self.study.get_trials(deepcopy=False)
        waiting = [self._running[name].number for name in self._waiting if self._steps[name]]
        names = [str(constraint) for constraint in self.constraints]
        replaced = trials_for_sampler(own, waiting, ranks_pruned=self._ranks_pruned, constraints=names)
        return replaced, earlier_trials_for_sampler(self._earlier, own) if self._earlier else []

    def _all_tried(self) -> bool:
        cells = self._cells
        if cells is None and self.duplicates == "skip":
            cells = self.space.listable
        return cells is not None and len(self._trials_of) >= cells

    def _is_unwanted(self, twins: Sequence[str]) -> bool:
        """Whether to draw another configuration instead of one with these earlier trials."""
        if self.duplicates == "reuse":
            return bool(twins) and not any(twin in self._ended for twin in twins)
        return bool(twins) and self.duplicates == "skip"

    def _twins(self, config: Mapping[str, Any]) -> Sequence[str]:
        """Earlier trials of the same configuration; none if the space is empty."""
        return tuple(self._trials_of.get(self._identity(config), ())) if self.space.domains else ()

    def _remember(self, trial_id: str, config: Mapping[str, Any]) -> None:
        self._trials_of.setdefault(self._identity(config), []).append(trial_id)

    def _identity(self, config: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(sorted(self.space.encode(config).items()))

    def _seed_of_copy(self, copy: int) -> int:
        return self.seeds[copy] if copy < len(self.seeds) else self.seeds[0] + copy

    def _other_losses(self, metrics: Mapping[str, float]) -> list[float | None]:
        return [sign * metrics[name] if name in metrics else None for name, sign in self.others.items()]

    def _check_number(self, number: int) -> None:
        following = len(self.study.get_trials(deepcopy=False))
        if number != following:
            raise ValueError(f"trial {number} is out of turn: the next one is {following}")


def _initial_points(
    space: OptunaSpace,
    sampler: str,
    baseline: Mapping[str, Any] | None,
    points: Sequence[Mapping[str, Any]],
    once: bool,
) -> InitialPoints:
    if not is_grid(sampler):
        return InitialPoints(space, baseline, points, once)
    if points:
        raise ValueError(grid_with_points(sampler))
    initial = InitialPoints(space, None, ())
    if baseline is not None:
        initial.notes = ("the baseline is skipped: only the grid is tried",)
    return initial
