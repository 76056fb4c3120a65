"""The search space as Optuna draws from it, with conditions.

Optuna has no conditions: a parameter exists when it is suggested ("define by run"). So a trial's parameters
are drawn in an order in which parents come before children, and only the active ones are drawn.
Configurations are flat: ``{"optimizer_config.lr": 0.1}``.

A key with a range for each case (SGD needs other learning rates than AdamW) is several parameters to Optuna
(``optimizer_config.lr[SGD]``), of which a trial has one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

import optuna
from optuna.distributions import CategoricalChoiceType

from raysweep.config.parameter import Parameter, alike, holds
from schedulers.space import Categorical, Domain, Float, Int

LISTABLE = 100_000
"""Spaces with more configurations count as infinite: they are never tried completely."""


@dataclass(frozen=True)
class OptunaSpace:
    """Domains by flat name, and the conditions under which each is active.

    Args:
        domains: domain of each parameter, by its name in Optuna.
        when: conditions, ``{child: {parent's key: value}}``; all parents of a child must be active and
            have the value, or one of the values of a list. A parameter without an entry is always active.
        keys: key of the configuration by parameter name, for keys with several parameters, of which at most
            one is active. Every other name is its own key.

    Raises:
        ValueError: for a condition on an unknown parameter, on a value that its parent never has, or
            for a cycle of conditions.
    """

    domains: Mapping[str, Domain]
    when: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, parameters: Mapping[str, Parameter]) -> OptunaSpace:
        """The space of a sweep file's `search_space`.

        Raises:
            ValueError: as the constructor.
        """
        domains: dict[str, Domain] = {}
        when: dict[str, Mapping[str, Any]] = {}
        keys: dict[str, str] = {}
        for key, parameter in parameters.items():
            for case in parameter.cases or (parameter,):
                name = _case_name(key, case, domains) if parameter.cases else key
                domains[name] = case.domain
                if case.when:
                    when[name] = case.when
                if name != key:
                    keys[name] = key
        return cls(domains, when, keys)

    def __post_init__(self) -> None:
        for child, conditions in self.when.items():
            if child not in self.domains:
                raise ValueError(f"{child} has a condition but no domain; add it to the search space")
            for parent, wanted in conditions.items():
                self._check_condition(child, parent, wanted)
        _ = self.order  # raises for a cycle

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All names, parents before children, otherwise in the given order."""
        graph = {
            name: [other for parent in self.when.get(name, ()) for other in self.names_of(parent)]
            for name in self.domains
        }
        try:
            return tuple(TopologicalSorter(graph).static_order())
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            raise ValueError(f"conditions go in a circle ({circle}); drop one of them") from error

    @property
    def conditional(self) -> bool:
        """Whether any parameter has a condition."""
        return any(self.when.values())

    def key(self, name: str) -> str:
        """The key of a parameter in the configuration."""
        return self.keys.get(name, name)

    def names_of(self, key: str) -> tuple[str, ...]:
        """The parameters of a key; empty if it is not searched."""
        return self._names.get(key, ())

    def is_active(self, name: str, config: Mapping[str, Any]) -> bool:
        """Whether a parameter is active, given the values of those before it in `order`."""
        return holds(self.when.get(name, {}), config)

    def contains(self, config: Mapping[str, Any]) -> bool:
        """Whether `config` has exactly the active parameters, each with a value in its domain."""
        active = {self.key(name): name for name in self.order if self.is_active(name, config)}
        return set(active) == set(config) and all(
            self.domains[name].contains(config[key]) for key, name in active.items()
        )

    def active_part(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The values of `config` whose parameters are searched and active in it."""
        part: dict[str, Any] = {}
        for name in self.order:
            key = self.key(name)
            if key in config and self.is_active(name, part):
                part[key] = config[key]
        return part

    def draw(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """A flat configuration, whose active parameters the trial's sampler suggests."""
        config: dict[str, Any] = {}
        for name in self.order:
            if self.is_active(name, config):
                config[self.key(name)] = self._suggest(trial, name)
        return {key: config[key] for key in self._names if key in config}

    def encode(self, config: Mapping[str, Any]) -> dict[str, CategoricalChoiceType]:
        """The values of `config`, each in its domain, as Optuna holds them, by parameter.

        If a partial configuration does not determine the case of a key, the value is given for all cases
        that can have it.
        """
        return {
            name: self._encoded(name, value)
            for key, value in config.items()
            for name in self.names_of(key)
            if len(self.names_of(key)) == 1 or self._may_hold(name, value, config)
        }

    def _may_hold(self, name: str, value: Any, config: Mapping[str, Any]) -> bool:
        is_determined = all(parent in config for parent in self.when.get(name, ()))
        return self.domains[name].contains(value) and (not is_determined or self.is_active(name, config))

    def allows(self, key: str, value: Any) -> bool:
        """Whether a searched key can have a value in any case."""
        return any(self.domains[name].contains(value) for name in self.names_of(key))

    def points(self, name: str) -> Sequence[Any] | None:
        """All values of a parameter, in ascending or given order; None if they are infinite."""
        domain = self.domains[name]
        match domain:
            case Categorical():
                return domain.choices
            case Int():
                return range(domain.low, domain.high + 1, domain.step)
            case Float(step=None):
                return (domain.low,) if domain.low == domain.high else None
            case Float():
                return domain.points()

    def cells(self) -> int | None:
        """The number of configurations; None if it is infinite."""
        return self._cells_from(0, {})

    @cached_property
    def listable(self) -> int | None:
        """The number of configurations if it is at most about `LISTABLE`; else None."""
        points = [self.points(name) for name in self.domains]
        if any(values is None for values in points):
            return None
        most = math.prod(len(values) for values in points if values is not None)
        return self.cells() if 0 < most <= LISTABLE and self.domains else None

    def _cells_from(self, index: int, config: dict[str, Any]) -> int | None:
        """The number of ways to complete a configuration from a position of `order` on."""
        if index == len(self.order):
            return 1
        name = self.order[index]
        if not self.is_active(name, config):
            return self._cells_from(index + 1, config)
        points = self.points(name)
        if points is None:
            return None
        if self.key(name) not in self._parents:  # no condition depends on it: count without a branch for each
            rest = self._cells_from(index + 1, config)
            return None if rest is None else len(points) * rest
        branches = [self._cells_from(index + 1, {**config, self.key(name): point}) for point in points]
        return None if None in branches else sum(branch for branch in branches if branch is not None)

    @cached_property
    def _names(self) -> dict[str, tuple[str, ...]]:
        names: dict[str, tuple[str, ...]] = {}
        for name in self.domains:
            names[self.key(name)] = (*names.get(self.key(name), ()), name)
        return names

    @cached_property
    def _parents(self) -> set[str]:
        return {parent for conditions in self.when.values() for parent in conditions}

    @cached_property
    def _labels(self) -> dict[str, tuple[CategoricalChoiceType, ...]]:
        return {
            name: _labels(domain) for name, domain in self.domains.items() if isinstance(domain, Categorical)
        }

    def _suggest(self, trial: optuna.trial.BaseTrial, name: str) -> Any:
        # Samplers may return numpy's numbers, or exceed a bound of a log range by a rounding error.
        domain = self.domains[name]
        match domain:
            case Categorical():
                labels = self._labels[name]
                label = trial.suggest_categorical(name, labels)
                return domain.choices[labels.index(label)]  # also for numpy's str and int
            case Int():
                high = domain.low + (domain.high - domain.low) // domain.step * domain.step
                whole = trial.suggest_int(name, domain.low, high, step=domain.step, log=domain.log)
                return min(max(int(whole), domain.low), high)
            case Float():
                # Optuna warns if the step does not reach the bound.
                top = float(domain.high) if domain.step is None else domain.points()[-1]
                real = trial.suggest_float(name, domain.low, top, step=domain.step, log=domain.log)
                return min(max(float(real), domain.low), top)

    def _encoded(self, name: str, value: Any) -> CategoricalChoiceType:
        domain = self.domains[name]
        match domain:
            case Categorical():
                choices = enumerate(domain.choices)
                return self._labels[name][next(index for index, choice in choices if alike(choice, value))]
            case Int():
                return int(value)
            case Float():
                if domain.step is None:
                    return float(value)
                return min(domain.points(), key=lambda point: abs(point - value))

    def _check_condition(self, child: str, parent: str, wanted: Any) -> None:
        if parent not in self._names:
            raise ValueError(f"{child} depends on {parent}, which is not searched; drop the condition")
        values = wanted if isinstance(wanted, (list, tuple)) else [wanted]
        if not self.allows(parent, wanted) and not all(self.allows(parent, value) for value in values):
            raise ValueError(f"{child} depends on {parent} being {wanted!r}, which it never is")


def _case_name(key: str, case: Parameter, domains: Mapping[str, Domain]) -> str:
    """A name, not among the domains, for a key in one case: ``optimizer_config.lr[SGD]``."""
    values = (str(value).rpartition(".")[2] for value in case.when.values())
    name = f"{key}[{', '.join(values)}]"
    return name if name not in domains else f"{name[:-1]} {len(domains)}]"


def _labels(domain: Categorical) -> tuple[CategoricalChoiceType, ...]:
    """The choices as Optuna holds them: themselves, or their text if Optuna cannot hold them.

    Optuna's choices are scalars that it compares with ``==``, which confuses 1 and True and never finds NaN;
    lists, such as layer widths, are not allowed.
    """
    scalars = all(choice is None or isinstance(choice, (bool, int, float, str)) for choice in domain.choices)
    distinct = scalars and len(set(domain.choices)) == len(domain.choices)
    if distinct and not any(isinstance(choice, float) and math.isnan(choice) for choice in domain.choices):
        return domain.choices
    return tuple(repr(choice) for choice in domain.choices)
