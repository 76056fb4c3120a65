"""Makes Optuna samplers by dotted path, seeded and with our defaults, one for each trial.

The state of a sampler's generator is in no journal. So every trial gets a sampler of its own, seeded from the
sweep's seed and the trial's number; all other state of a sampler is in the Optuna study, which is rebuilt
from the journal. The same sweep with the same history then proposes the same configuration, in one run or
after ten crashes.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import math
import pkgutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    GPSampler,
    GridSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from raysweep.formatting import one_line
from raysweep.search.optuna_space import OptunaSpace
from schedulers.space import Float

MAX_GRID_CELLS = 10_000
"""GridSampler lists its cells for every trial; with more it takes longer than milliseconds."""

# Their suggestions depend on the study's trials and the seed only, and write nothing that a later trial
# reads, so a replay need not compute them. A sampler missing here costs time, never correctness.
_STATELESS = (TPESampler, GPSampler)

OWN_DRAWS = 10
"""Draws of a sampler for one trial, if each is a duplicate, before random ones."""

_PROBES = 32


def make_sampler(
    name: str, kwargs: Mapping[str, Any], space: OptunaSpace, seed: int, number: int, draw: int = 1
) -> BaseSampler:
    """A new sampler for one trial, or for another draw for the same trial.

    After `OWN_DRAWS` draws a random sampler is used, since a sampler that keeps proposing duplicates has
    nothing else to propose.

    Arguments that the file does not give are filled in by the names in the sampler's signature:

    - ``seed``: from (seed, number); the same for all trials if it fixes a sequence (QMC) or an
      order (Grid) rather than a stream.
    - ``n_startup_trials``: at least 2 per parameter, for samplers that start with several (TPE, GP).
    - ``multivariate``, ``constant_liar``: on; ``group``: on for conditional spaces.
    - ``scramble``: on, so that another seed gives another sequence.
    - ``search_space``: every value of every parameter.
    - ``consider_pruned_trials``: on; without it CMA-ES learns nothing from stopped trials.
    - ``independent_sampler``: random, with a stream of its own.

    An argument of the form ``{name: dotted.path, kwargs: {...}}`` is made in the same way.

    Raises:
        ValueError: if there is no such sampler, it does not accept `kwargs`, or cannot list the space.
    """
    if draw > OWN_DRAWS:
        return RandomSampler(seed=_stream(seed, number, 2, draw))
    seeds = (seed, number) if draw == 1 else (seed, number, 2, draw)
    target = _load(name)
    arguments = {key: _make_argument(value, space, seed, number) for key, value in kwargs.items()}
    parameters = _parameters(name, target)
    _check_names(name, parameters, arguments)
    if _is_grid(target):
        arguments["search_space"] = _grid(name, space, arguments.get("search_space"))
    filled = _defaults(parameters, arguments, space, seeds)
    with without_warnings():
        try:
            sampler = target(**filled, **arguments)
        except (TypeError, ValueError, ImportError) as error:
            raise ValueError(f"{name}: {one_line(error)}") from error
    if not isinstance(sampler, BaseSampler):
        raise ValueError(f"{name} is no Optuna sampler; name a class like optuna.samplers.TPESampler")
    return sampler


def check_sampler(
    name: str, kwargs: Mapping[str, Any], space: OptunaSpace, objectives: int = 1
) -> tuple[str, ...]:
    """Check that a sampler can handle the space; returns sentences on what it would draw at random.

    The sampler itself is asked which parameters it would model after a few random trials.

    Raises:
        ValueError: if it cannot be made, cannot list the space, would model none of it, or handles one
            objective only.
    """
    sampler = make_sampler(name, kwargs, space, seed=0, number=0)
    if exhaustive_cells(name, kwargs, space) is not None:
        return ()
    if objectives > 1:
        _check_objectives(name, kwargs, objectives)
    plain = OptunaSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    if not _modelled(make_sampler(name, kwargs, plain, 0, 0), plain)[0]:
        return ()  # it models nothing in any space, like random search
    modelled, drawn = _modelled(sampler, space)
    at_random = [key for key in space.domains if key in drawn - modelled]
    if at_random and not modelled:
        raise ValueError(
            f"{name} can model none of {', '.join(at_random)}: all would be drawn at random;"
            " use optuna.samplers.TPESampler"
        )
    if at_random:
        keys = ", ".join(at_random)
        return (f"{name} draws {keys} at random; optuna.samplers.TPESampler would model all",)
    return ()


def sampler_class(name: str) -> type:
    """The class that a sampler's dotted path names; `BaseSampler` if it names a function."""
    target = _load(name)
    return target if isinstance(target, type) else BaseSampler


def takes_constraints(name: str) -> bool:
    """Whether the sampler avoids configurations that break a constraint.

    Those are the samplers whose signature has the older `constraints_func`.
    """
    return "constraints_func" in _parameters(name, _load(name))


def _check_objectives(name: str, kwargs: Mapping[str, Any], objectives: int) -> None:
    plain = OptunaSpace({"x": Float(0.0, 1.0)})
    with quiet():
        sampler = make_sampler(name, kwargs, plain, 0, 0)
        study = optuna.create_study(sampler=sampler, directions=["minimize"] * objectives)
        try:
            for _ in range(2):
                study.tell(study.ask({"x": FloatDistribution(0.0, 1.0)}), [0.0] * objectives)
        except ValueError as error:
            if "multi-objective" not in str(error):
                raise
            fix = "use optuna.samplers.NSGAIISampler or TPESampler, or one metric and constraints"
            raise ValueError(f"{name} handles one objective only, not {objectives}; {fix}") from None


def exhaustive_cells(name: str, kwargs: Mapping[str, Any], space: OptunaSpace) -> int | None:
    """The number of configurations of a sampler that tries all of them once; None for other samplers.

    Raises:
        ValueError: if it tries all, and they are infinite.
    """
    target = _load(name)
    if _is_grid(target):
        return math.prod(len(points) for points in _grid(name, space, kwargs.get("search_space")).values())
    if not (isinstance(target, type) and issubclass(target, BruteForceSampler)):
        return None
    cells = space.cells()
    if cells is None:
        raise ValueError(_infinite(name, space))
    return cells


def is_grid(name: str) -> bool:
    """Whether the sampler tries a fixed list of cells by trial number, and nothing else."""
    return _is_grid(_load(name))


def grid_with_points(name: str) -> str:
    """The error of a grid sampler with points to evaluate."""
    return (
        f"{name} tries its grid and nothing else; drop points_to_evaluate,"
        " or use optuna.samplers.BruteForceSampler, which tries them first"
    )


def _is_grid(target: Callable[..., Any]) -> bool:
    return isinstance(target, type) and issubclass(target, GridSampler)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's warnings, and its log lines on new studies and ended trials."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        with without_warnings():
            yield
    finally:
        optuna.logging.set_verbosity(before)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Silence Optuna's warnings only, for calls made many times a trial, which log nothing.

    `quiet` also sets a log level, which clears the caches of every logger in the process: a millisecond.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
        # Constraints are recorded for all samplers; those that ignore them would warn.
        warnings.filterwarnings("ignore", message="Constraints have been set")
        yield


class PerTrialSampler(BaseSampler):
    """Uses a sampler of its own for every trial, and can replay recorded trials.

    Args:
        make: makes a sampler from a trial's number and its draw, counted from 1; must be picklable.
    """

    def __init__(self, make: Callable[[int, int], BaseSampler]) -> None:
        self._make = make
        self._current: tuple[int, BaseSampler] | None = None
        self._draw = 1
        self._recorded: Mapping[str, Any] | None = None

    @contextlib.contextmanager
    def replaying(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Within the block, the sampler updates the study as usual, but the values are the recorded ones."""
        self._recorded = values
        try:
            yield
        finally:
            self._recorded = None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's sampler and call its `before_trial`."""
        same = self._current is not None and self._current[0] == trial.number
        self._draw = self._draw + 1 if same else 1
        self._current = (trial.number, self._make(trial.number, self._draw))
        self._of(trial).before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that the trial's sampler draws together."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values drawn together; in a replay none, and only the side effects on the study matter."""
        sampler = self._of(trial)
        if self._recorded is None:
            return sampler.sample_relative(study, trial, search_space)
        # TPE stores what it drew for a running trial, inactive parameters included: with such parameters,
        # that is not the recorded configuration, and must be drawn again.
        if not isinstance(sampler, _STATELESS) or not search_space.keys() <= self._recorded.keys():
            sampler.sample_relative(study, trial, search_space)
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """One value drawn by itself, or the recorded one."""
        if self._recorded is not None:
            return self._recorded[param_name]
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Call `after_trial` of a sampler like the trial's."""
        try:
            self._make(trial.number, 1).after_trial(study, trial, state, values)
        except RuntimeError as error:
            # Grid and BruteForce stop the study at their last point, which is allowed within
            # study.optimize() only. exhaustive_cells says whether anything is left.
            if "Study.stop" not in str(error):
                raise

    def __getstate__(self) -> dict[str, Any]:
        return {"_make": self._make, "_current": None, "_draw": 1, "_recorded": None}

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if self._current is None or self._current[0] != trial.number:
            self._current = (trial.number, self._make(trial.number, 1))
        return self._current[1]


def _load(name: str) -> Callable[..., Any]:
    try:
        target = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name}: no such sampler ({one_line(error)}); give its dotted path") from error
    if not callable(target):
        raise ValueError(f"{name} is no sampler but a {type(target).__name__}; give a class's dotted path")
    return target  # type: ignore[no-any-return]  # its type is known at run time only


def _parameters(name: str, target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(target).parameters
    except ValueError as error:  # some builtins have none
        raise ValueError(
            f"{name} is no Optuna sampler; name a class like optuna.samplers.TPESampler"
        ) from error


def _make_argument(value: Any, space: OptunaSpace, seed: int, number: int) -> Any:
    if isinstance(value, Mapping) and "name" in value and set(value) <= {"name", "kwargs"}:
        target, kwargs = _load(str(value["name"])), dict(value.get("kwargs") or {})
        if isinstance(target, type) and issubclass(target, BaseSampler):
            return make_sampler(str(value["name"]), kwargs, space, seed, number)
        return target(**kwargs)
    return value


def _check_names(name: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> None:
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in given:
        if key not in parameters:
            near = difflib.get_close_matches(key, parameters, n=1)
            fix = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(parameters)}"
            raise ValueError(f"{name} takes no {key!r}; {fix}")


def _defaults(
    parameters: Mapping[str, inspect.Parameter],
    given: Mapping[str, Any],
    space: OptunaSpace,
    seeds: Sequence[int],
) -> dict[str, Any]:
    own = {key: parameter.default for key, parameter in parameters.items() if key not in given}
    filled: dict[str, Any] = {}
    if "seed" in own:
        same_for_all = "scramble" in parameters or "search_space" in parameters
        filled["seed"] = _stream(seeds[0]) if same_for_all else _stream(*seeds)
    for key in ("multivariate", "constant_liar", "scramble", "consider_pruned_trials"):
        if key in own:
            filled[key] = True
    if "group" in own and space.conditional and given.get("multivariate", True):
        filled["group"] = True
    start = own.get("n_startup_trials")
    if isinstance(start, int) and start > 1:  # CMA-ES has 1, since it starts from the middle of the space
        filled["n_startup_trials"] = max(start, 2 * len(space.domains))
    if "independent_sampler" in own:
        filled["independent_sampler"] = RandomSampler(seed=_stream(*seeds, 1))
    if own.get("warn_independent_sampling") is True:  # check_sampler says so once
        filled["warn_independent_sampling"] = False
    return filled


def _grid(name: str, space: OptunaSpace, listed: Mapping[str, Sequence[Any]] | None) -> dict[str, list[Any]]:
    """The values of every parameter as Optuna holds them: those listed in the file, or all."""
    if space.conditional:
        raise ValueError(f"{name} handles no conditions; use optuna.samplers.BruteForceSampler")
    if listed is None and space.cells() is None:
        raise ValueError(_infinite(name, space))
    points = listed or {key: space.points(key) or () for key in space.domains}
    if points.keys() != space.domains.keys():
        keys = ", ".join(sorted(points.keys() ^ space.domains.keys()))
        raise ValueError(f"{name}: search_space and the sweep's differ in {keys}; list every parameter once")
    cells = math.prod(len(values) for values in points.values())
    if cells > MAX_GRID_CELLS:
        raise ValueError(
            f"{name}: the grid has {cells} cells, more than {MAX_GRID_CELLS};"
            " give larger steps or use optuna.samplers.QMCSampler"
        )
    for key, values in points.items():
        for value in values:
            if not space.domains[key].contains(value):
                raise ValueError(f"{name}: {value!r} in search_space is no value of {key}; fix one of them")
    return {key: [space.encode({key: value})[key] for value in values] for key, values in points.items()}


def _infinite(name: str, space: OptunaSpace) -> str:
    """The error of a sampler that would have to try infinitely many values."""
    keys = ", ".join(key for key in space.domains if space.points(key) is None)
    fix = "give a step or choices, or use optuna.samplers.QMCSampler"
    return f"{name} cannot list every value of {keys}; {fix}"


def _stream(*keys: int) -> int:
    return int(np.random.SeedSequence(keys).generate_state(1)[0])


def _modelled(sampler: BaseSampler, space: OptunaSpace) -> tuple[set[str], set[str]]:
    """Names that the sampler would model after some trials, and names that had several values in them."""
    with quiet():
        study = optuna.create_study(sampler=RandomSampler(seed=0))
        for number in range(_PROBES):
            trial = study.ask()
            space.draw(trial)
            study.tell(trial, float(number))
        study.ask()
        *past, last = study.get_trials(deepcopy=False)
        modelled = set(sampler.infer_relative_search_space(study, last))
    drawn = {key for trial in past for key, domain in trial.distributions.items() if not domain.single()}
    return modelled, drawn
