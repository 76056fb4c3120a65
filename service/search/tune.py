"""What is tried next: an Optuna study in memory, a fold of what it is told, behind Ray's Searcher.

Ray's own OptunaSearch tells Optuna that a trial stopped at epoch 1 is as final as one that trained
to the end, leaves trials with a NaN running for ever, and asks its points again after a restore.
Ours is a subclass, so that it is one to everything that asks, and mends these. The service drives
it by `ask`, `report`, `tell` and `replay_asked`; a plain ``tune.TuneConfig(search_alg=...)`` drives
the same four by Ray's names.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState
from ray.tune.search import UNDEFINED_METRIC_MODE, UNDEFINED_SEARCH_SPACE, Searcher
from ray.tune.search.optuna import OptunaSearch
from ray.tune.utils.util import flatten_dict, unflatten_dict

from schedulers.space import Categorical, Domain, Float, Int
from service.search.points import FirstPoints, Source
from service.search.samplers import PerTrial, check_sampler, exhaustive_cells, is_grid, make_sampler, quiet
from service.search.space import Space
from service.search.storage import StudyStorage

# What our trainable's results say of a trial's end, in the words of `tell`.
_OUTCOMES = {"completed": "completed", "diverged": "diverged", "failed": "failed", "oom": "infeasible"}

TPE = "optuna.samplers.TPESampler"


class StudySearcher(OptunaSearch):  # type: ignore[misc]  # Ray ships no types
    """Asks an Optuna sampler for configurations and tells it honestly how they did.

    Losses are lower-is-better in `report` and `tell`; by Ray's names `mode` says which way, and it
    is flipped once. The study always minimizes.

    Args:
        space: domains by flat name; without one, Ray's `param_space` is taken.
        when: conditions, see `Space`.
        metric: key of Ray's results; the service does not need it.
        mode: ``"min"`` or ``"max"``; the service does not need it.
        sampler: dotted path of an Optuna sampler.
        sampler_kwargs: its arguments; see `make_sampler` for what is filled in.
        seed: >= 0; the same seed and history give the same configurations.
        baseline: the configuration that the user would run without a search (flat; keys that are
            not searched are ignored). It is tried first, unless it lies outside the space.
        points_to_evaluate: configurations to try next, flat or nested; the sampler completes partial
            ones.
        max_resource: by Ray's names only: a trial that ends before it counts as stopped.
        time_attr: by Ray's names only: key of Ray's results that counts epochs.
        study_name: the name under which `export` writes the study.

    Attributes:
        notes: sentences for the user: what the sampler leaves to chance, why a baseline is skipped.

    Raises:
        ValueError: for a sampler that cannot handle the space or a point outside it.
    """

    def __init__(
        self,
        space: Mapping[str, Domain] | None = None,
        *,
        when: Mapping[str, Mapping[str, Any]] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sampler: str = TPE,
        sampler_kwargs: Mapping[str, Any] | None = None,
        seed: int = 42,
        baseline: Mapping[str, Any] | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] = (),
        max_resource: int | None = None,
        time_attr: str = "training_iteration",
        study_name: str = "sweep",
    ) -> None:
        super().__init__(metric=metric, mode=mode, study_name=study_name)
        self.metric_name = metric
        self.direction = mode
        self.sampler_name = sampler
        self.sampler_kwargs = dict(sampler_kwargs or {})
        self.seed = seed
        self.max_resource = max_resource
        self.time_attr = time_attr
        self.study_name = study_name
        self.notes: tuple[str, ...] = ()
        self._longest = 0
        self.space: Space | None = None
        self._given = (
            dict(baseline) if baseline is not None else None,
            [dict(p) for p in points_to_evaluate],
        )
        if space is not None:
            self._begin_study(Space(dict(space), dict(when or {})))

    # -- the service's words -------------------------------------------------------------------

    def ask(self, number: int) -> tuple[dict[str, Any], Source] | None:
        """The flat configuration of trial `number` and where it comes from; None when all is tried.

        Raises:
            ValueError: if `number` is not the next one, or the sampler fails.
        """
        return self._ask(number, trial_name(number))

    def report(self, trial_id: str, step: int, loss: float | None) -> None:
        """Note a loss after `step` epochs. Non-finite and repeated ones are passed over."""
        self._waiting.discard(trial_id)
        if trial_id not in self._running or loss is None or not math.isfinite(loss):
            return
        if step not in self._steps[trial_id]:
            self._steps[trial_id].add(step)
            self._running[trial_id].report(float(loss), step)

    def paused(self, trial_id: str) -> None:
        """Note that a trial waits: until it goes on, samplers take it for stopped where it stands."""
        if trial_id in self._running:
            self._waiting.add(trial_id)

    def resumed(self, trial_id: str) -> None:
        """Note that it goes on."""
        self._waiting.discard(trial_id)

    def tell(self, trial_id: str, outcome: str, worth: float | None, reason: str = "") -> None:
        """Note how a trial ended. Unknown and already ended trials are passed over.

        Args:
            trial_id: as in `report`.
            outcome: completed (COMPLETE with its worth), stopped (PRUNED, ranked by its last report),
                or diverged, failed, infeasible (FAIL).
            worth: what a completed trial is worth; without a finite one it counts as failed.
            reason: kept beside the outcome in the trial's user attributes.
        """
        trial = self._running.pop(trial_id, None)
        if trial is None:
            return
        del self._steps[trial_id]
        self._waiting.discard(trial_id)
        trial.set_user_attr("outcome", outcome)
        if reason:
            trial.set_user_attr("reason", reason)
        if outcome == "infeasible":
            trial.set_constraint("infeasible", 1.0)
        with quiet():
            if outcome == "completed" and worth is not None and math.isfinite(worth):
                self.study.tell(trial, float(worth), state=TrialState.COMPLETE)
            else:
                state = TrialState.PRUNED if outcome == "stopped" else TrialState.FAIL
                self.study.tell(trial, state=state)

    def replay_asked(self, number: int, config: Mapping[str, Any], source: str) -> None:
        """Note a recorded trial as asked and running; `report` and `tell` go on as if live.

        A configuration outside the space (the study was revised since) keeps its number and is
        withheld from the sampler.

        Raises:
            ValueError: if `number` is not the next one.
        """
        self._expect(number)
        name, space = trial_name(number), self._space_or_raise()
        if not space.contains(config):
            note = {
                "source": source,
                "reason": "outside the present search space",
                "config": repr(dict(config)),
            }
            self.study.add_trial(optuna.create_trial(state=TrialState.FAIL, user_attrs=note))
            self._first.take(source)
            return
        values = space.encode(config)
        fixed = self._first.take(source)
        if fixed is not None:  # the same parameters fixed as when it was asked, to what is recorded
            fixed = {key: values[key] for key in fixed or values if key in values}
        with self._sampler_of_study.replaying(values):
            self._draw(name, source, fixed)

    def export(self, path: Path) -> None:
        """Write the study as an SQLite file that optuna-dashboard and plain Optuna open.

        An export is never read back. An earlier file at `path` is replaced.
        """
        unfinished = path.with_name(f".{path.name}.tmp")
        unfinished.unlink(missing_ok=True)
        with quiet():
            storage = optuna.storages.RDBStorage(f"sqlite:///{unfinished}")
            try:
                optuna.copy_study(
                    from_study_name=self.study_name, from_storage=self._storage_of_study, to_storage=storage
                )
            finally:
                storage.remove_session()
                storage.engine.dispose()
        unfinished.replace(path)

    # -- Ray's words ---------------------------------------------------------------------------

    @property
    def metric(self) -> str | None:
        """Key of Ray's results that is optimized."""
        return self.metric_name

    @property
    def mode(self) -> str | None:
        """``"min"`` or ``"max"``."""
        return self.direction

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take what TuneConfig says and was not given here; True if `config` became the space."""
        self.metric_name = self.metric_name or metric
        self.direction = self.direction or mode
        if self.space is not None:
            return False
        found = self.convert_search_space(config)
        if found:
            domains = {name.replace("/", "."): _domain(drawn) for name, drawn in found.items()}
            self._begin_study(Space(domains))
        return bool(found)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A nested configuration for a trial of Ray's, or ``Searcher.FINISHED``."""
        name = type(self).__name__
        if self.space is None:
            raise RuntimeError(UNDEFINED_SEARCH_SPACE.format(cls=name, space="space"))
        if not self.metric or not self.mode:
            raise RuntimeError(UNDEFINED_METRIC_MODE.format(cls=name, metric=self.metric, mode=self.mode))
        asked = self._ask(len(self.study.get_trials(deepcopy=False)), trial_id)
        if asked is None:
            return str(Searcher.FINISHED)
        nested: dict[str, Any] = unflatten_dict(asked[0], delimiter=".")
        return nested

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an intermediate result; one without the metric is passed over."""
        step = result.get(self.time_attr)
        if step is not None:
            self._longest = max(self._longest, int(step))
            self.report(trial_id, int(step), self._loss(result))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell how a trial ended, its last result included: Ray withholds that one from on_trial_result."""
        steps = self._steps.get(trial_id, set())
        last = int((result or {}).get(self.time_attr, 0))
        # Ray marks stopped and finished trials alike. A function that returned has had its last
        # result reported already; others are judged by how far they came.
        returned = last in steps
        goal = self.max_resource or max(self._longest, last)
        if result:
            self.on_trial_result(trial_id, result)
        worth = self._loss(result or {})
        said = _OUTCOMES.get(str((result or {}).get("outcome")))  # by our own trainable
        if error or said:
            outcome = "failed" if error else str(said)
        elif result and (worth is None or not math.isfinite(worth)):
            outcome = "diverged"
        elif result and (returned or last >= goal):
            outcome = "completed"
        else:
            outcome = "stopped" if steps else "failed"
        self.tell(trial_id, outcome, worth)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Note a configuration that was tried elsewhere; `value` counts in the direction of `mode`."""
        space = self._space_or_raise()
        trial_id = f"evaluated-{len(self.study.get_trials(deepcopy=False))}"
        config = _flat(parameters)
        if not space.contains(config):
            raise ValueError(f"the evaluated point {config} lies outside the search space")
        with self._sampler_of_study.replaying(space.encode(config)):
            self._draw(trial_id, "point", space.encode(config))
        sign = -1.0 if self.mode == "max" else 1.0
        for step, loss in enumerate(intermediate_values or ([value] if pruned else []), start=1):
            self.report(trial_id, step, sign * loss)
        self.tell(trial_id, "failed" if error else "stopped" if pruned else "completed", sign * value)

    # -- within ----------------------------------------------------------------------------------

    def _begin_study(self, space: Space) -> None:
        self.notes = check_sampler(self.sampler_name, self.sampler_kwargs, space)
        self.space = space
        self._cells = exhaustive_cells(self.sampler_name, self.sampler_kwargs, space)
        self._tried: set[tuple[Any, ...]] = set()
        self._running: dict[str, optuna.Trial] = {}
        self._steps: dict[str, set[int]] = {}
        self._waiting: set[str] = set()
        self._first = self._first_points(space)
        self.notes += self._first.notes
        make = functools.partial(make_sampler, self.sampler_name, self.sampler_kwargs, space, self.seed)
        self._sampler_of_study = PerTrial(make)
        self._storage_of_study = StudyStorage()
        with quiet():
            self.study = optuna.create_study(
                storage=self._storage_of_study,
                sampler=self._sampler_of_study,
                pruner=optuna.pruners.NopPruner(),
                study_name=self.study_name,
                direction="minimize",
            )

    def _first_points(self, space: Space) -> FirstPoints:
        if not is_grid(self.sampler_name):
            return FirstPoints(space, self._given[0], [_flat(point) for point in self._given[1]])
        if self._given[1]:
            raise ValueError(
                f"{self.sampler_name} goes over its grid and nothing else; drop points_to_evaluate,"
                " or use optuna.samplers.BruteForceSampler, which takes them first"
            )
        first = FirstPoints(space, None, ())
        if self._given[0] is not None:
            first.notes = ("the baseline is skipped: a grid holds all that is tried",)
        return first

    def _ask(self, number: int, trial_id: str) -> tuple[dict[str, Any], Source] | None:
        self._expect(number)
        if self._cells is not None and len(self._tried) >= self._cells:
            return None
        source = self._first.source(number)
        return self._draw(trial_id, source, self._first.take(source)), source

    def _draw(self, trial_id: str, source: str, fixed: Mapping[str, Any] | None) -> dict[str, Any]:
        space = self._space_or_raise()
        waiting = [self._running[name].number for name in self._waiting]
        with quiet(), self._storage_of_study.showing_as_pruned(waiting):
            if fixed is not None:
                self.study.enqueue_trial(dict(fixed))
            trial = self.study.ask()
            config = space.draw(trial)
        trial.set_user_attr("source", source)
        self._running[trial_id] = trial
        self._steps[trial_id] = set()
        if self._cells is not None:
            self._tried.add(tuple(sorted(space.encode(config).items())))
        return config

    def _expect(self, number: int) -> None:
        self._space_or_raise()
        following = len(self.study.get_trials(deepcopy=False))
        if number != following:
            raise ValueError(f"trial {number} is out of turn: the next one is {following}")

    def _space_or_raise(self) -> Space:
        if self.space is None:
            raise ValueError("there is no search space yet; give StudySearcher its domains")
        return self.space

    def _loss(self, result: Mapping[str, Any]) -> float | None:
        value = result.get(str(self.metric))
        if value is None:
            return None
        return -float(value) if self.mode == "max" else float(value)


def trial_name(number: int) -> str:
    """A trial's id for its whole life: its number, five digits.

    >>> trial_name(7)
    '00007'
    """
    return f"{number:05d}"


def _flat(point: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = flatten_dict(dict(point), delimiter=".")
    return flat


def _domain(drawn: BaseDistribution) -> Domain:
    """Ray's domains come as Optuna's distributions, by way of OptunaSearch.convert_search_space."""
    if isinstance(drawn, FloatDistribution):
        return Float(drawn.low, drawn.high, log=drawn.log, step=drawn.step)
    if isinstance(drawn, IntDistribution):
        return Int(drawn.low, drawn.high, log=drawn.log, step=drawn.step)
    if isinstance(drawn, CategoricalDistribution):
        return Categorical(drawn.choices)
    raise ValueError(f"a domain of kind {type(drawn).__name__} cannot be searched")
