"""An Optuna study in memory: a fold of what it is told, from which it asks what to try next."""

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
    is_grid,
    make_sampler,
    quiet,
    sampler_class,
    unwarned,
)
from raysweep.search.warm_start import WarmStart, as_trials
from schedulers.trial_id import trial_id as to_trial_id

TPE = "optuna.samplers.TPESampler"
DRAWS = 5 * OWN_DRAWS
"""Draws for one trial, the sampler's own and random ones, before a configuration is tried twice."""

Duplicates = Literal["skip", "reuse", "replicate", "allow"]


class OptunaSearcher:
    """Asks an Optuna sampler for configurations and tells it honestly how they did.

    Losses are lower-is-better, and the study always minimizes.

    Args:
        space: what is searched.
        sampler: dotted path of an Optuna sampler.
        sampler_kwargs: its arguments; see `make_sampler` for what is filled in.
        seed: >= 0; the same seed and history give the same configurations.
        baseline: the configuration that the user would run without a search (flat; keys that are
            not searched are ignored). It is tried first, unless it lies outside the space.
        points: configurations to try next, flat; the sampler completes partial ones.
        others: objectives beside the loss: metric -> +1 where lower is better, -1 where higher.
        constraints: what a trial's metrics must keep to.
        warm: what earlier studies give.
        duplicates: what becomes of a configuration that was tried already: another is drawn, its
            result is taken, it is run under another seed, or it is run as any other.
        seeds: of trainings; the first is every trial's, the others are for replicates.
        study_name: the name under which `export` writes the study.

    Attributes:
        notes: sentences for the user: what the sampler leaves to chance, why a baseline is skipped.

    Raises:
        ValueError: for a sampler that cannot handle the space or a point outside it.
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
        self._first = _first_points(space, sampler, baseline, [*points, *warm.points], once)
        self.notes += self._first.notes
        self._earlier = as_trials(warm.observed, space)
        self._ranks_pruned = issubclass(sampler_class(sampler), TPESampler)
        self._tried: dict[tuple[Any, ...], list[str]] = {}
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

    def ready(self, number: int) -> bool:
        """Whether trial `number` can be asked for now."""
        return True

    def finish(self) -> OptunaSearcher:
        """The fold with all that it was told: this one."""
        return self

    def ask(self, number: int, trial_id: str = "") -> Proposal | None:
        """What to try as trial `number`; None when all is tried.

        Args:
            number: the next one.
            trial_id: what `report` and `tell` will call it; its number in five digits if not given.

        Raises:
            ValueError: if `number` is not the next one, or the sampler fails.
        """
        self._expect(number)
        if self._all_tried():
            return None
        name, source = trial_id or to_trial_id(number), self._first.source(number)
        fixed = self._first.take(source)
        config, draws = self._draw(name, source, fixed), 1
        twins = self._twins(config)
        while self._unwanted(twins) and source == "sampler" and draws < DRAWS:
            config, draws = self._draw_again(name), draws + 1
            twins = self._twins(config)
        self._note(name, config)
        if twins and self.duplicates == "replicate":
            config = {**config, SEED_KEY: self._seed_of_copy(len(twins))}
        ended = [twin for twin in twins if twin in self._ended]
        same_as = ended[0] if ended and self.duplicates == "reuse" else ""
        return Proposal(config, source, draws, same_as)

    def report(self, trial_id: str, step: int, loss: float | None) -> None:
        """Note a loss after `step` epochs. Non-finite and repeated ones are passed over."""
        self._waiting.discard(trial_id)
        if trial_id not in self._running or loss is None or not math.isfinite(loss):
            return
        if step not in self._steps[trial_id]:
            self._steps[trial_id].add(step)
            if not self.others:  # of several objectives Optuna takes no intermediate values
                self._running[trial_id].report(float(loss), step)

    def paused(self, trial_id: str) -> None:
        """Note that a trial waits: until it goes on, samplers take it for stopped where it stands."""
        if trial_id in self._running:
            self._waiting.add(trial_id)

    def resumed(self, trial_id: str) -> None:
        """Note that it goes on."""
        self._waiting.discard(trial_id)

    def tell(
        self,
        trial_id: str,
        outcome: str,
        worth: float | None,
        reason: str = "",
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Note how a trial ended. Unknown and already ended trials are passed over.

        Args:
            trial_id: as in `report`.
            outcome: completed (COMPLETE with its worth), stopped (PRUNED, ranked by its last report),
                or diverged, failed, infeasible (FAIL).
            worth: what a completed trial is worth; without a finite one it counts as failed.
            reason: kept beside the outcome in the trial's user attributes.
            metrics: all that it reported at the epoch that counts: other objectives, constraints.
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
        values = [worth, *self._other_losses(metrics or {})]
        with unwarned():
            if outcome == "completed" and all(value is not None and math.isfinite(value) for value in values):
                self.study.tell(trial, [float(value or 0.0) for value in values], state=TrialState.COMPLETE)
            else:
                state = TrialState.PRUNED if outcome == "stopped" else TrialState.FAIL
                self.study.tell(trial, state=state)

    def replay_asked(self, number: int, config: Mapping[str, Any], source: str, draws: int = 1) -> None:
        """Note a recorded trial as asked and running; `report` and `tell` go on as if live.

        A configuration outside the space (the study was revised since) keeps its number and is
        withheld from the sampler.

        Raises:
            ValueError: if `number` is not the next one.
        """
        self._expect(number)
        name = to_trial_id(number)
        config = {key: value for key, value in config.items() if not key.startswith(RESERVED)}
        fixed = self._first.take(source)
        if not self.space.contains(config):
            note = {
                "source": source,
                "reason": "outside the present search space",
                "config": repr(dict(config)),
            }
            self.study.add_trial(optuna.create_trial(state=TrialState.FAIL, values=None, user_attrs=note))
            return
        values = self.space.encode(config)
        if fixed is not None:  # the same parameters fixed as when it was asked, to what is recorded
            fixed = {key: values[key] for key in fixed or values if key in values}
        with self._sampler_of_study.replaying(values):
            self._draw(name, source, fixed)
            for _ in range(1, draws):
                self._draw_again(name)
        self._note(name, config)

    def trials_now(self) -> list[FrozenTrial]:
        """The study's trials as they stand, whatever a sampler is being shown; safe from any thread."""
        return self._storage_of_study.stored_trials(self.study._study_id)

    # -- within ----------------------------------------------------------------------------------

    def _draw(self, trial_id: str, source: str, fixed: Mapping[str, Any] | None) -> dict[str, Any]:
        with unwarned(), self._storage_of_study.showing(self._to_show):
            if fixed is not None:
                self.study.enqueue_trial(dict(fixed))
            trial = self.study.ask()
            config = self.space.draw(trial)
        trial.set_user_attr("source", source)
        self._running[trial_id] = trial
        self._steps[trial_id] = set()
        return config

    def _draw_again(self, trial_id: str) -> dict[str, Any]:
        """Another configuration for a trial just drawn, as if it were drawn for the first time."""
        key = self._storage_of_study.forget_draw(self._running[trial_id].number)
        with unwarned(), self._storage_of_study.showing(self._to_show):
            self._running[trial_id] = optuna.Trial(self.study, key)
            return self.space.draw(self._running[trial_id])

    def _to_show(self) -> tuple[dict[int, optuna.trial.FrozenTrial], list[optuna.trial.FrozenTrial]]:
        own = self.study.get_trials(deepcopy=False)
        waiting = [self._running[name].number for name in self._waiting if self._steps[name]]
        names = [str(constraint) for constraint in self.constraints]
        instead = trials_for_sampler(own, waiting, ranks_pruned=self._ranks_pruned, constraints=names)
        return instead, earlier_trials_for_sampler(self._earlier, own) if self._earlier else []

    def _all_tried(self) -> bool:
        cells = self._cells
        if cells is None and self.duplicates == "skip":
            cells = self.space.listable
        return cells is not None and len(self._tried) >= cells

    def _unwanted(self, twins: Sequence[str]) -> bool:
        """Whether another configuration should be drawn: always, or while no twin has ended to copy."""
        if self.duplicates == "reuse":
            return bool(twins) and not any(twin in self._ended for twin in twins)
        return bool(twins) and self.duplicates == "skip"

    def _twins(self, config: Mapping[str, Any]) -> Sequence[str]:
        """Earlier trials of the same configuration; where nothing is searched there are none to speak of."""
        return tuple(self._tried.get(self._identity(config), ())) if self.space.domains else ()

    def _note(self, trial_id: str, config: Mapping[str, Any]) -> None:
        self._tried.setdefault(self._identity(config), []).append(trial_id)

    def _identity(self, config: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(sorted(self.space.encode(config).items()))

    def _seed_of_copy(self, copy: int) -> int:
        return self.seeds[copy] if copy < len(self.seeds) else self.seeds[0] + copy

    def _other_losses(self, metrics: Mapping[str, float]) -> list[float | None]:
        return [sign * metrics[name] if name in metrics else None for name, sign in self.others.items()]

    def _expect(self, number: int) -> None:
        following = len(self.study.get_trials(deepcopy=False))
        if number != following:
            raise ValueError(f"trial {number} is out of turn: the next one is {following}")


def _first_points(
    space: OptunaSpace,
    sampler: str,
    baseline: Mapping[str, Any] | None,
    points: Sequence[Mapping[str, Any]],
    once: bool,
) -> InitialPoints:
    if not is_grid(sampler):
        return InitialPoints(space, baseline, points, once)
    if points:
        raise ValueError(
            f"{sampler} goes over its grid and nothing else; drop points_to_evaluate,"
            " or use optuna.samplers.BruteForceSampler, which takes them first"
        )
    first = InitialPoints(space, None, ())
    if baseline is not None:
        first.notes = ("the baseline is skipped: a grid holds all that is tried",)
    return first
