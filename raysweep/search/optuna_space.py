"""The searched parameters as Optuna draws them: one after the other, conditions included.

Optuna knows no conditions: it is told a parameter when it is suggested ("define by run"). So a
trial's parameters are drawn in an order in which whatever a condition asks about comes first, and
only the active ones are drawn at all. Flat configurations go in and out:
``{"optimizer_config.lr": 0.1}``.

Nor does it know that SGD wants other learning rates than AdamW. A key with a range for each case is
as many parameters to it (``optimizer_config.lr[SGD]``), of which a trial has one.
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
"""Spaces of more configurations are as good as endless: nobody counts what of them was tried."""


@dataclass(frozen=True)
class OptunaSpace:
    """Domains by flat name, and when each of them is active.

    Args:
        domains: what each parameter may be, by the name that Optuna knows it by.
        when: conditions, ``{child: {parent's key: value}}``; all parents of a child must be active and
            have the value, or one of the values where a list is given. A parameter without an entry
            is always active.
        keys: names of parameters that stand for a key of the configuration, of several that do; of
            these at most one may be active. Every other name is its own key.

    Raises:
        ValueError: for a condition on an unknown parameter, on a value its parent never has, or on
            itself by way of others.
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
        _ = self.order  # a cycle is a fault of the space, not of the first draw

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All names, each after those its conditions ask about; as given where nothing is asked."""
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
        """Whether some parameter is active only sometimes."""
        return any(self.when.values())

    def key(self, name: str) -> str:
        """The key of the configuration that a parameter gives."""
        return self.keys.get(name, name)

    def names_of(self, key: str) -> tuple[str, ...]:
        """The parameters that give a key; none if it is not searched."""
        return self._names.get(key, ())

    def is_active(self, name: str, config: Mapping[str, Any]) -> bool:
        """Whether `name` is to be drawn, given the parameters before it in `order`."""
        return holds(self.when.get(name, {}), config)

    def contains(self, config: Mapping[str, Any]) -> bool:
        """Whether `config` gives every active parameter, no other, and each inside its domain."""
        active = {self.key(name): name for name in self.order if self.is_active(name, config)}
        return set(active) == set(config) and all(
            self.domains[name].contains(config[key]) for key, name in active.items()
        )

    def active_part(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Of `config`, what is searched and active under it."""
        part: dict[str, Any] = {}
        for name in self.order:
            key = self.key(name)
            if key in config and self.is_active(name, part):
                part[key] = config[key]
        return part

    def draw(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """Let `trial`'s sampler suggest the active parameters; a flat configuration."""
        config: dict[str, Any] = {}
        for name in self.order:
            if self.is_active(name, config):
                config[self.key(name)] = self._suggest(trial, name)
        return {key: config[key] for key in self._names if key in config}

    def encode(self, config: Mapping[str, Any]) -> dict[str, CategoricalChoiceType]:
        """The values of `config`, each inside its domain, as Optuna holds them, by parameter.

        Of a key with several cases in a configuration that does not tell which, all that can hold it.
        """
        return {
            name: self._encoded(name, value)
            for key, value in config.items()
            for name in self.names_of(key)
            if len(self.names_of(key)) == 1 or self._may_hold(name, value, config)
        }

    def _may_hold(self, name: str, value: Any, config: Mapping[str, Any]) -> bool:
        told = all(parent in config for parent in self.when.get(name, ()))
        return self.domains[name].contains(value) and (not told or self.is_active(name, config))

    def allows(self, key: str, value: Any) -> bool:
        """Whether a searched key may have a value, in some case."""
        return any(self.domains[name].contains(value) for name in self.names_of(key))

    def points(self, name: str) -> Sequence[Any] | None:
        """Every value of a parameter, in ascending or given order; None where there is no end of them."""
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
        """How many configurations there are; None where a float has no step."""
        return self._cells_from(0, {})

    @cached_property
    def listable(self) -> int | None:
        """How many configurations there are, if one could list them; else None."""
        points = [self.points(name) for name in self.domains]
        if any(values is None for values in points):
            return None
        most = math.prod(len(values) for values in points if values is not None)
        return self.cells() if 0 < most <= LISTABLE and self.domains else None

    def _cells_from(self, place: int, config: dict[str, Any]) -> int | None:
        if place == len(self.order):
            return 1
        name = self.order[place]
        if not self.is_active(name, config):
            return self._cells_from(place + 1, config)
        points = self.points(name)
        if points is None:
            return None
        if self.key(name) not in self._parents:  # its value changes nothing further on: count, do not visit
            rest = self._cells_from(place + 1, config)
            return None if rest is None else len(points) * rest
        branches = [self._cells_from(place + 1, {**config, self.key(name): point}) for point in points]
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
        # Samplers may answer with numpy's numbers, or a last bit beyond a bound of a log range.
        domain = self.domains[name]
        match domain:
            case Categorical():
                labels = self._labels[name]
                label = trial.suggest_categorical(name, labels)
                return domain.choices[_position(labels, label)]
            case Int():
                high = domain.low + (domain.high - domain.low) // domain.step * domain.step
                whole = trial.suggest_int(name, domain.low, high, step=domain.step, log=domain.log)
                return min(max(int(whole), domain.low), high)
            case Float():
                # Optuna warns where the step does not reach the bound.
                top = float(domain.high) if domain.step is None else domain.points()[-1]
                real = trial.suggest_float(name, domain.low, top, step=domain.step, log=domain.log)
                return min(max(float(real), domain.low), top)

    def _encoded(self, name: str, value: Any) -> CategoricalChoiceType:
        domain = self.domains[name]
        match domain:
            case Categorical():
                places = [n for n, choice in enumerate(domain.choices) if alike(choice, value)]
                return self._labels[name][places[0]]
            case Int():
                return int(value)
            case Float():
                if domain.step is None:
                    return float(value)
                return min(domain.points(), key=lambda point: abs(point - value))

    def _check_condition(self, child: str, parent: str, wanted: Any) -> None:
        if parent not in self._names:
            raise ValueError(f"{child} waits for {parent}, which is not searched; drop the condition")
        values = wanted if isinstance(wanted, (list, tuple)) else [wanted]
        if not self.allows(parent, wanted) and not all(self.allows(parent, value) for value in values):
            raise ValueError(f"{child} waits for {parent} to be {wanted!r}, which it never is")


def _case_name(key: str, case: Parameter, taken: Mapping[str, Domain]) -> str:
    """What Optuna and its dashboard call a key in one case: ``optimizer_config.lr[SGD]``."""
    values = (str(value).rpartition(".")[2] for value in case.when.values())
    name = f"{key}[{', '.join(values)}]"
    return name if name not in taken else f"{name[:-1]} {len(taken)}]"


def _labels(domain: Categorical) -> tuple[CategoricalChoiceType, ...]:
    """What Optuna holds for each choice: the choice itself, or its text where Optuna cannot hold it.

    Optuna's choices are scalars that it finds again by ``==``, which takes 1 for True and never
    finds NaN; a list of layer widths it does not know at all.
    """
    scalars = all(choice is None or isinstance(choice, (bool, int, float, str)) for choice in domain.choices)
    distinct = scalars and len(set(domain.choices)) == len(domain.choices)
    if distinct and not any(isinstance(choice, float) and math.isnan(choice) for choice in domain.choices):
        return domain.choices
    return tuple(repr(choice) for choice in domain.choices)


def _position(labels: tuple[CategoricalChoiceType, ...], label: CategoricalChoiceType) -> int:
    # A sampler may hand back numpy's str or int; both compare equal to the plain one.
    return labels.index(label)
