"""Any Optuna sampler by dotted path: seeded, with the defaults we stand behind, one per trial.

A sampler's generator would be state that no journal holds. So every trial gets a sampler of its
own, seeded from the sweep's seed and the trial's number, and whatever else a sampler remembers it
keeps in the study, which is rebuilt from records. The same sweep at the same point of its history
then asks for the same configuration, whether it came there in one run or after ten crashes.
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
"""GridSampler lists its cells anew for every trial; beyond this that is no longer milliseconds."""

# Their suggestions are a function of the study's trials and the seed: they leave nothing behind
# that a later trial would read, so a replay need not compute them again. Being left off this list
# costs time, never correctness.
_LEAVE_NO_TRACE = (TPESampler, GPSampler)

OWN_DRAWS = 10
"""Draws of its own that a sampler has for one trial, if each gives what was tried already."""

_PROBES = 32


def make_sampler(
    name: str, kwargs: Mapping[str, Any], space: OptunaSpace, seed: int, number: int, draw: int = 1
) -> BaseSampler:
    """A fresh sampler for one trial, or for another draw for the same trial.

    After `OWN_DRAWS` draws that were no use a random one is made: whoever draws the same again and
    again has nothing else to propose.

    What the file does not give is filled in by the names in the sampler's signature:

    - ``seed``: from (seed, number); the same for all trials where it fixes a sequence (QMC) or an
      order (Grid) rather than a stream.
    - ``n_startup_trials``: at least 2 per parameter, for samplers that start with several (TPE, GP).
    - ``multivariate``, ``constant_liar``: on; ``group``: on for conditional spaces.
    - ``scramble``: on, so that another seed gives another sequence.
    - ``search_space``: every value of every parameter.
    - ``consider_pruned_trials``: on; without it CMA-ES learns nothing from trials a rule stopped.
    - ``independent_sampler``: random, with a stream of its own.

    A kwarg of the form ``{name: dotted.path, kwargs: {...}}`` is built in the same way.

    Raises:
        ValueError: if there is no such sampler, it does not take `kwargs`, or cannot list the space.
    """
    if draw > OWN_DRAWS:
        return RandomSampler(seed=_stream(seed, number, 2, draw))
    seeds = (seed, number) if draw == 1 else (seed, number, 2, draw)
    target = _resolve(name)
    given = {key: _built(value, space, seed, number) for key, value in kwargs.items()}
    parameters = _parameters(name, target)
    _check_names(name, parameters, given)
    if _is_grid(target):
        given["search_space"] = _grid(name, space, given.get("search_space"))
    filled = _defaults(parameters, given, space, seeds)
    with unwarned():
        try:
            sampler = target(**filled, **given)
        except (TypeError, ValueError, ImportError) as error:
            raise ValueError(f"{name}: {one_line(error)}") from error
    if not isinstance(sampler, BaseSampler):
        raise ValueError(f"{name} is no Optuna sampler; name a class like optuna.samplers.TPESampler")
    return sampler


def check_sampler(
    name: str, kwargs: Mapping[str, Any], space: OptunaSpace, objectives: int = 1
) -> tuple[str, ...]:
    """Whether the sampler can handle the space: sentences on what it leaves to chance.

    Asked of the sampler itself: over a few random trials, which parameters would it model?

    Raises:
        ValueError: if it cannot be made, cannot list the space, would model none of it, or knows one
            objective only.
    """
    sampler = make_sampler(name, kwargs, space, seed=0, number=0)
    if exhaustive_cells(name, kwargs, space) is not None:
        return ()
    if objectives > 1:
        _check_objectives(name, kwargs, objectives)
    plain = OptunaSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    if not _modelled(make_sampler(name, kwargs, plain, 0, 0), plain)[0]:
        return ()  # it models nothing anywhere, as random search
    modelled, seen = _modelled(sampler, space)
    left = [key for key in space.domains if key in seen - modelled]
    if left and not modelled:
        raise ValueError(
            f"{name} can model none of {', '.join(left)}: all would be drawn at random;"
            " use optuna.samplers.TPESampler"
        )
    if left:
        return (f"{name} draws {', '.join(left)} at random; optuna.samplers.TPESampler would model all",)
    return ()


def sampler_class(name: str) -> type:
    """What a sampler's dotted path names, if that is a class; else a sampler of no particular kind."""
    target = _resolve(name)
    return target if isinstance(target, type) else BaseSampler


def takes_constraints(name: str) -> bool:
    """Whether the sampler keeps away from configurations that break a constraint.

    As its signature says: those that can still have the older `constraints_func`.
    """
    return "constraints_func" in _parameters(name, _resolve(name))


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
            raise ValueError(f"{name} knows one objective only, and there are {objectives}; {fix}") from None


def exhaustive_cells(name: str, kwargs: Mapping[str, Any], space: OptunaSpace) -> int | None:
    """How many different trials a sampler that tries everything once can make; None for the others.

    Raises:
        ValueError: if it tries everything, and of something there is no end.
    """
    target = _resolve(name)
    if _is_grid(target):
        return math.prod(len(points) for points in _grid(name, space, kwargs.get("search_space")).values())
    if not (isinstance(target, type) and issubclass(target, BruteForceSampler)):
        return None
    cells = space.cells()
    if cells is None:
        raise ValueError(_endless(name, space))
    return cells


def is_grid(name: str) -> bool:
    """Whether the sampler goes over a fixed list of cells by trial number, and over nothing else."""
    return _is_grid(_resolve(name))


def _is_grid(target: Callable[..., Any]) -> bool:
    return isinstance(target, type) and issubclass(target, GridSampler)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Optuna without its notes on experimental classes, nor its lines on studies made and trials ended."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        with unwarned():
            yield
    finally:
        optuna.logging.set_verbosity(before)


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Optuna without its notes on experimental classes, around what a trial needs: it logs nothing there.

    To set a level empties the caches of every logger in the process: a millisecond, many times a trial.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
        # An infeasible trial is marked for whoever can use that; the others need not say they cannot.
        warnings.filterwarnings("ignore", message="Constraints have been set")
        yield


class PerTrialSampler(BaseSampler):
    """Hands every trial to a sampler of its own, and can replay a recorded one.

    Args:
        make: from a trial's number and its draw, counted from 1, to a sampler; must pickle.
    """

    def __init__(self, make: Callable[[int, int], BaseSampler]) -> None:
        self._make = make
        self._current: tuple[int, BaseSampler] | None = None
        self._draw = 1
        self._recorded: Mapping[str, Any] | None = None

    @contextlib.contextmanager
    def replaying(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Within: the sampler takes its notes as ever, but the values are the recorded ones."""
        self._recorded = values
        try:
            yield
        finally:
            self._recorded = None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's sampler and let it prepare."""
        same = self._current is not None and self._current[0] == trial.number
        self._draw = self._draw + 1 if same else 1
        self._current = (trial.number, self._make(trial.number, self._draw))
        self._of(trial).before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """What the trial's sampler draws together."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values drawn together; in a replay only the notes this leaves in the study matter."""
        sampler = self._of(trial)
        if self._recorded is None:
            return sampler.sample_relative(study, trial, search_space)
        # TPE notes what it drew for a running trial, inactive parameters included: where there are
        # such, the note is not the configuration, and must be made again.
        if not isinstance(sampler, _LEAVE_NO_TRACE) or not search_space.keys() <= self._recorded.keys():
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
        """Let a sampler like the trial's take note of its end."""
        try:
            self._make(trial.number, 1).after_trial(study, trial, state, values)
        except RuntimeError as error:
            # Grid and BruteForce end the study at their last point, which is legal only within
            # study.optimize(). Whether anything is left is known without them: exhaustive_cells.
            if "Study.stop" not in str(error):
                raise

    def __getstate__(self) -> dict[str, Any]:
        return {"_make": self._make, "_current": None, "_draw": 1, "_recorded": None}

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if self._current is None or self._current[0] != trial.number:
            self._current = (trial.number, self._make(trial.number, 1))
        return self._current[1]


def _resolve(name: str) -> Callable[..., Any]:
    try:
        target = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name}: no such sampler ({one_line(error)}); give its dotted path") from error
    if not callable(target):
        raise ValueError(f"{name} is no sampler but a {type(target).__name__}; give a class's dotted path")
    return target  # type: ignore[no-any-return]  # what a dotted path leads to is known at run time only


def _parameters(name: str, target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(target).parameters
    except ValueError as error:  # some builtins have none
        raise ValueError(
            f"{name} is no Optuna sampler; name a class like optuna.samplers.TPESampler"
        ) from error


def _built(value: Any, space: OptunaSpace, seed: int, number: int) -> Any:
    if isinstance(value, Mapping) and "name" in value and set(value) <= {"name", "kwargs"}:
        target, kwargs = _resolve(str(value["name"])), dict(value.get("kwargs") or {})
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
        one_for_all = "scramble" in parameters or "search_space" in parameters
        filled["seed"] = _stream(seeds[0]) if one_for_all else _stream(*seeds)
    for key in ("multivariate", "constant_liar", "scramble", "consider_pruned_trials"):
        if key in own:
            filled[key] = True
    if "group" in own and space.conditional and given.get("multivariate", True):
        filled["group"] = True
    start = own.get("n_startup_trials")
    if isinstance(start, int) and start > 1:  # CMA-ES has 1: it starts from the middle, not from data
        filled["n_startup_trials"] = max(start, 2 * len(space.domains))
    if "independent_sampler" in own:
        filled["independent_sampler"] = RandomSampler(seed=_stream(*seeds, 1))
    if own.get("warn_independent_sampling") is True:  # said once, by check_sampler; not every trial
        filled["warn_independent_sampling"] = False
    return filled


def _grid(name: str, space: OptunaSpace, listed: Mapping[str, Sequence[Any]] | None) -> dict[str, list[Any]]:
    """Every value of every parameter as Optuna holds them; of `listed`, if the file lists them itself."""
    if space.conditional:
        raise ValueError(f"{name} knows no conditions; use optuna.samplers.BruteForceSampler")
    if listed is None and space.cells() is None:
        raise ValueError(_endless(name, space))
    points = listed or {key: space.points(key) or () for key in space.domains}
    if points.keys() != space.domains.keys():
        odd = ", ".join(sorted(points.keys() ^ space.domains.keys()))
        raise ValueError(f"{name}: search_space and the sweep's differ in {odd}; list every parameter once")
    cells = math.prod(len(values) for values in points.values())
    if cells > MAX_GRID_CELLS:
        raise ValueError(
            f"{name}: the grid has {cells} cells, more than {MAX_GRID_CELLS};"
            " give larger steps or use optuna.samplers.QMCSampler"
        )
    for key, values in points.items():
        for value in values:
            if not space.domains[key].contains(value):
                raise ValueError(f"{name}: {value!r} in search_space is no value of {key}; fix either")
    return {key: [space.encode({key: value})[key] for value in values] for key, values in points.items()}


def _endless(name: str, space: OptunaSpace) -> str:
    endless = ", ".join(key for key in space.domains if space.points(key) is None)
    fix = "give a step or choices, or use optuna.samplers.QMCSampler"
    return f"{name} cannot list every value of {endless}; {fix}"


def _stream(*keys: int) -> int:
    return int(np.random.SeedSequence(keys).generate_state(1)[0])


def _modelled(sampler: BaseSampler, space: OptunaSpace) -> tuple[set[str], set[str]]:
    """Names the sampler would model after some trials, and names these trials had a choice about."""
    with quiet():
        study = optuna.create_study(sampler=RandomSampler(seed=0))
        for number in range(_PROBES):
            trial = study.ask()
            space.draw(trial)
            study.tell(trial, float(number))
        study.ask()
        *past, last = study.get_trials(deepcopy=False)
        modelled = set(sampler.infer_relative_search_space(study, last))
    seen = {key for trial in past for key, domain in trial.distributions.items() if not domain.single()}
    return modelled, seen
