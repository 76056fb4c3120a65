"""`OptunaSearcher` as a Searcher of Ray Tune, for a plain Tuner.

Ray's own OptunaSearch tells Optuna that a trial stopped at epoch 1 is as final as one that trained
to the end, leaves trials with a NaN running forever, and proposes its points again after a restore.
This one fixes these; it is a subclass, so that it passes `isinstance` checks. Our service calls
`OptunaSearcher` itself; a plain ``tune.TuneConfig(search_alg=...)`` calls the same methods by Ray's names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from ray.tune.search import UNDEFINED_METRIC_MODE, UNDEFINED_SEARCH_SPACE, Searcher
from ray.tune.search.optuna import OptunaSearch
from ray.tune.utils.util import flatten_dict, unflatten_dict

from raysweep.search.optuna_searcher import OptunaSearcher
from raysweep.search.optuna_space import OptunaSpace
from schedulers.space import Categorical, Domain, Float, Int

# Outcome in our trainable's results -> outcome for `tell`.
_OUTCOMES = {"completed": "completed", "diverged": "diverged", "failed": "failed", "oom": "infeasible"}


class RayOptunaSearch(OptunaSearcher, OptunaSearch):  # type: ignore[misc]  # Ray ships no types
    """An `OptunaSearcher` with the interface of Ray's OptunaSearch.

    Args:
        space: an `OptunaSpace`, or domains by flat name; by default from Ray's `param_space`.
        when: conditions on domains by flat name, see `OptunaSpace`.
        metric: key of Ray's results.
        mode: ``"min"`` or ``"max"``: whether lower or higher values of the metric are better.
        points_to_evaluate: configurations to try next, flat or nested; the sampler completes partial
            ones.
        max_resource: a trial that ends before it counts as stopped.
        time_attr: key of Ray's results that counts epochs.
        kwargs: other arguments of `OptunaSearcher`.

    Raises:
        ValueError: if the sampler cannot handle the space, or a point lies outside it.
    """

    def __init__(
        self,
        space: OptunaSpace | Mapping[str, Domain] | None = None,
        *,
        when: Mapping[str, Mapping[str, Any]] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] = (),
        max_resource: int | None = None,
        time_attr: str = "training_iteration",
        **kwargs: Any,
    ) -> None:
        OptunaSearch.__init__(self, metric=metric, mode=mode)
        self.metric_name = metric
        self.direction = mode
        self.max_resource = max_resource
        self.time_attr = time_attr
        self._longest = 0
        self._kwargs = {**kwargs, "points": [_flat(point) for point in points_to_evaluate]}
        self._has_study = False
        if space is not None:
            self._make_study(
                space if isinstance(space, OptunaSpace) else OptunaSpace(dict(space), dict(when or {}))
            )

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
        """Take missing settings from TuneConfig; True if `config` became the space."""
        self.metric_name = self.metric_name or metric
        self.direction = self.direction or mode
        if self._has_study:
            return False
        distributions = self.convert_search_space(config)
        if distributions:
            domains = {name.replace("/", "."): _domain(each) for name, each in distributions.items()}
            self._make_study(OptunaSpace(domains))
        return bool(distributions)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A nested configuration for a trial of Ray's, or ``Searcher.FINISHED``."""
        name = type(self).__name__
        if not self._has_study:
            raise RuntimeError(UNDEFINED_SEARCH_SPACE.format(cls=name, space="space"))
        if not self.metric or not self.mode:
            raise RuntimeError(UNDEFINED_METRIC_MODE.format(cls=name, metric=self.metric, mode=self.mode))
        proposal = self.ask(len(self.study.get_trials(deepcopy=False)), trial_id)
        if proposal is None:
            return str(Searcher.FINISHED)
        nested: dict[str, Any] = unflatten_dict(proposal.config, delimiter=".")
        return nested

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an intermediate result; one without the metric is ignored."""
        step = result.get(self.time_attr)
        if step is not None:
            self._longest = max(self._longest, int(step))
            self.report(trial_id, int(step), self._loss(result))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell how a trial ended, with its last result, which Ray does not pass to on_trial_result."""
        steps = self._steps.get(trial_id, set())
        last = int((result or {}).get(self.time_attr, 0))
        # Ray marks stopped and finished trials alike. The last result of a function that returned has
        # been reported already; others completed if they reached the goal.
        returned = last in steps
        goal = self.max_resource or max(self._longest, last)
        if result:
            self.on_trial_result(trial_id, result)
        loss = self._loss(result or {})
        reported = _OUTCOMES.get(str((result or {}).get("outcome")))  # by our own trainable
        if error or reported:
            outcome = "failed" if error else str(reported)
        elif result and (loss is None or not math.isfinite(loss)):
            outcome = "diverged"
        elif result and (returned or last >= goal):
            outcome = "completed"
        else:
            outcome = "stopped" if steps else "failed"
        self.tell(trial_id, outcome, loss, metrics=_numbers(result or {}))

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Note a configuration that was tried elsewhere; `value` counts in the direction of `mode`."""
        trial_id = f"evaluated-{len(self.study.get_trials(deepcopy=False))}"
        config = _flat(parameters)
        if not self.space.contains(config):
            raise ValueError(f"the evaluated point {config} lies outside the search space")
        with self._sampler_of_study.replaying(self.space.encode(config)):
            self._draw(trial_id, "point", self.space.encode(config))
        self._remember(trial_id, config)
        sign = self._sign
        for step, loss in enumerate(intermediate_values or ([value] if pruned else []), start=1):
            self.report(trial_id, step, sign * loss)
        self.tell(trial_id, "failed" if error else "stopped" if pruned else "completed", sign * value)

    def _make_study(self, space: OptunaSpace) -> None:
        OptunaSearcher.__init__(self, space, **self._kwargs)
        self._has_study = True

    @property
    def _sign(self) -> int:
        """-1 if the metric is maximised, else 1."""
        return -1 if self.mode == "max" else 1

    def _loss(self, result: Mapping[str, Any]) -> float | None:
        value = result.get(str(self.metric))
        if value is None:
            return None
        return self._sign * float(value)


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in result.items() if isinstance(value, int | float)}


def _flat(point: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = flatten_dict(dict(point), delimiter=".")
    return flat


def _domain(distribution: BaseDistribution) -> Domain:
    """The domain of an Optuna distribution, as OptunaSearch.convert_search_space makes them."""
    if isinstance(distribution, FloatDistribution):
        return Float(distribution.low, distribution.high, log=distribution.log, step=distribution.step)
    if isinstance(distribution, IntDistribution):
        return Int(distribution.low, distribution.high, log=distribution.log, step=distribution.step)
    if isinstance(distribution, CategoricalDistribution):
        return Categorical(distribution.choices)
    raise ValueError(f"a domain of kind {type(distribution).__name__} cannot be searched")
