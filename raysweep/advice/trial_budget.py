"""Advice on the number of trials for the size of the search space."""

from __future__ import annotations

import math
from collections.abc import Iterator

from raysweep.advice.rule import (
    AdviceRule,
    Suggestion,
    at,
    class_name,
    ends,
    is_grid,
    leaf,
    log_range,
    scheduler_class,
)
from raysweep.config import Sweep
from raysweep.config.checks import cells
from raysweep.config.parameter import is_number
from raysweep.formatting import counted
from schedulers.space import Categorical, Float

MOST_PARAMETERS = 5
LARGEST_GRID = 100
STARTUP_PER_PARAMETER = 10
TRIALS_PER_PARAMETER = 60
RANDOM_TRIALS = 60
"""1 - 0.95^60 = 95%: with this probability one of them is in the best 5%, for any number of parameters."""

BLIND = ("RandomSampler", "QMCSampler")

# Document 003's tiers, from the first to search to the last; other parameters are in the middle.
_TIERS = (
    ("lr", "learning_rate"),
    ("min_lr", "gamma", "warmup"),
    ("batch_size", "optimizer"),
    ("weight_decay", "momentum"),
    (),
    ("layers", "nodes", "dropout", "grad_clip"),
    ("activation", "norm", "eps", "betas", "init"),
)


def many_parameters(sweep: Sweep) -> Iterator[Suggestion]:
    """At most five parameters are searched at once."""
    flats = sorted(sweep.space, key=_tier)
    if len(flats) > MOST_PARAMETERS:
        last = ", ".join(flats[MOST_PARAMETERS:])
        why = f"{len(flats)} parameters are searched; the trials they need grow exponentially"
        yield Suggestion(
            ("search_space",), why, f"keep {MOST_PARAMETERS}: those that matter least are {last}"
        )


def grid_of_a_continuum(sweep: Sweep) -> Iterator[Suggestion]:
    """A continuous parameter is drawn from its range, not put on a grid."""
    if not is_grid(sweep):
        return
    for flat, domain in sweep.space.items():
        span = ends(domain)
        listed = isinstance(domain, Categorical) and any(isinstance(value, float) for value in domain.choices)
        if span is None or not (listed or isinstance(domain, Float)) or cells(domain) == 1:
            continue
        why = "a grid over a continuous range: the best value probably lies between its points"
        sampler = "sampler=optuna.samplers.TPESampler"
        low, high = span
        log = low > 0 and high / low >= 10
        plain = f"search_space.{flat}={{type: float, min: {low:g}, max: {high:g}}}"
        yield Suggestion(at(flat), why, sets=(log_range(flat, low, high) if log else plain, sampler))


def large_grid(sweep: Sweep) -> Iterator[Suggestion]:
    """A grid has at most a hundred points; beyond that random search does better."""
    if not is_grid(sweep):
        return
    points = math.prod(cells(domain) or 1 for domain in sweep.space.values())
    if points > LARGEST_GRID:
        why = f"a grid of {points} points: random trials try more values of each parameter that matters"
        yield Suggestion(("sampler",), why, sets=("sampler=optuna.samplers.RandomSampler", "trials=100"))


def few_startup_trials(sweep: Sweep) -> Iterator[Suggestion]:
    """TPE models the space after ten random trials a parameter."""
    if class_name(sweep.sampler.name) != "TPESampler" or not sweep.space:
        return
    wanted = STARTUP_PER_PARAMETER * len(sweep.space)
    given = sweep.sampler.kwargs.get("n_startup_trials")
    has = given if is_number(given) else max(10, 2 * len(sweep.space))  # as search.samplers fills it in
    if has >= wanted:
        return
    why = f"TPE models {counted(len(sweep.space), 'parameter')} after {has} random trials; it needs {wanted}"
    sets = [f"sampler.kwargs.n_startup_trials={wanted}"]
    if sweep.trials <= wanted:
        sets.append(f"trials={TRIALS_PER_PARAMETER * len(sweep.space)}")
    key = ("sampler", "kwargs", "n_startup_trials") if is_number(given) else ("sampler",)
    yield Suggestion(key, why, sets=tuple(sets))


def few_trials(sweep: Sweep) -> Iterator[Suggestion]:
    """A model of the space gets sixty trials a parameter, random search sixty in all."""
    if is_grid(sweep) or not sweep.space or scheduler_class(sweep) == "PBT" or sweep.trials == 1:
        return
    blind = class_name(sweep.sampler.name) in BLIND
    wanted = RANDOM_TRIALS if blind else TRIALS_PER_PARAMETER * len(sweep.space)
    if sweep.trials < wanted:
        kind = "random trials" if blind else f"trials for {counted(len(sweep.space), 'parameter')}"
        why = f"{sweep.trials} {kind}; the rule of thumb is {wanted}"
        yield Suggestion(("trials",), why, sets=(f"trials={wanted}",))


def several_seeds(sweep: Sweep) -> Iterator[Suggestion]:
    """A search spends its time on configurations, one seed each; seeds are for the winner."""
    seeds = sweep.run.seeds
    if len(seeds) > 1 and sweep.trials > 1:
        why = f"{len(seeds)} seeds, but a search uses only the first: try more configurations instead"
        yield Suggestion(("run", "seeds"), why, sets=(f"run.seeds=[{seeds[0]}]",))


def no_baseline(sweep: Sweep) -> Iterator[Suggestion]:
    """The run's own values are tried too: a search that does not beat them has found nothing."""
    if sweep.baseline or sweep.points_to_evaluate or is_grid(sweep) or not sweep.space:
        return
    why = "the run's own values are not tried, so it will not be known whether the search beats them"
    yield Suggestion(("baseline",), why, sets=("baseline=true",))


def _tier(flat: str) -> int:
    """How much a parameter matters according to document 003; 0 is the most."""
    tiers = [number for number, names in enumerate(_TIERS) if leaf(flat) in names]
    return tiers[0] if tiers else _TIERS.index(())


RULES = (
    AdviceRule(many_parameters, "document 000, The HPO Philosophy; 003, Pitfall 2"),
    AdviceRule(grid_of_a_continuum, "document 002, Running a Grid Search on a Continuous Space"),
    AdviceRule(large_grid, "document 003, Grid Search at Scale; Bergstra and Bengio, JMLR 13 (2012)"),
    AdviceRule(few_startup_trials, "document 002, Setting n_startup_trials Too Low: 10 a parameter"),
    AdviceRule(few_trials, "document 002, best practice 2: 60 a parameter; 004, Random Search: 60 in all"),
    AdviceRule(several_seeds, "document 003, Budget Allocation: Seeds vs Configurations"),
    AdviceRule(no_baseline, "document 003, Pitfall 10"),
)
