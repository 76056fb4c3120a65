"""A sweep as a script of events, so that it can be cut, rebuilt from its records and carried on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.ray_optuna_search import RayOptunaSearch
from schedulers.space import Categorical, Domain, Float, Int
from schedulers.trial_id import trial_id as trial_name

MIXED: dict[str, Domain] = {
    "opt.lr": Float(1e-3, 1.0, log=True),
    "net.layers": Int(1, 6),
    "net.norm": Categorical(("batch", "layer", None)),
}
NUMBERS: dict[str, Domain] = {"opt.lr": Float(1e-3, 1.0, log=True), "net.layers": Int(1, 6)}
LISTED: dict[str, Domain] = {
    "opt.lr": Float(0.1, 0.4, step=0.1),
    "net.layers": Int(1, 3),
    "net.norm": Categorical(("batch", None)),
}
CONDITIONAL: dict[str, Domain] = {
    "opt.name": Categorical(("sgd", "adamw")),
    "opt.momentum": Float(0.0, 0.9),
    "opt.beta2": Float(0.9, 0.999),
    "opt.lr": Float(1e-3, 1.0, log=True),
}
WHEN = {"opt.momentum": {"opt.name": "sgd"}, "opt.beta2": {"opt.name": "adamw"}}

TPE = "optuna.samplers.TPESampler"
START = {"n_startup_trials": 4}
SWEEPS: dict[str, dict[str, Any]] = {
    "TPE": {"space": MIXED, "sampler": TPE, "sampler_kwargs": START},
    "TPE, conditional": {"space": CONDITIONAL, "when": WHEN, "sampler": TPE, "sampler_kwargs": START},
    "Random": {"space": MIXED, "sampler": "optuna.samplers.RandomSampler"},
    "Random, conditional": {"space": CONDITIONAL, "when": WHEN, "sampler": "optuna.samplers.RandomSampler"},
    "Grid": {"space": LISTED, "sampler": "optuna.samplers.GridSampler"},
    "BruteForce": {"space": LISTED, "sampler": "optuna.samplers.BruteForceSampler"},
    "QMC": {"space": MIXED, "sampler": "optuna.samplers.QMCSampler"},
    "GP": {"space": NUMBERS, "sampler": "optuna.samplers.GPSampler", "sampler_kwargs": START},
    "CMA-ES": {"space": NUMBERS, "sampler": "optuna.samplers.CmaEsSampler", "sampler_kwargs": {"popsize": 4}},
    "CMA-ES, with margin": {
        "space": NUMBERS,
        "sampler": "optuna.samplers.CmaEsSampler",
        "sampler_kwargs": {"popsize": 4, "with_margin": True},
    },
    "NSGA-II": {
        "space": MIXED,
        "sampler": "optuna.samplers.NSGAIISampler",
        "sampler_kwargs": {"population_size": 5},
    },
}
CASES = OptunaSpace(
    {
        "opt.name": Categorical(("sgd", "adamw")),
        "opt.lr[sgd]": Float(1e-2, 1.0, log=True),
        "opt.lr[adamw]": Float(1e-4, 1e-2, log=True),
        "net.layers": Int(1, 6),
    },
    {"opt.lr[sgd]": {"opt.name": "sgd"}, "opt.lr[adamw]": {"opt.name": "adamw"}},
    {"opt.lr[sgd]": "opt.lr", "opt.lr[adamw]": "opt.lr"},
)
SMALL: dict[str, Domain] = {"opt.lr": Float(0.1, 0.5, step=0.1), "net.layers": Int(1, 6)}
SIZE = {"others": {"size": 1}}
SWEEPS |= {
    "TPE, cases": {"space": CASES, "sampler": TPE, "sampler_kwargs": START},
    "TPE, two metrics": {"space": MIXED, "sampler": TPE, "sampler_kwargs": START, **SIZE},
    "NSGA-II, two metrics": {**SWEEPS["NSGA-II"], **SIZE},
    "TPE, no duplicates": {"space": SMALL, "sampler": TPE, "sampler_kwargs": START, "duplicates": "skip"},
    "QMC, no duplicates": {"space": SMALL, "sampler": "optuna.samplers.QMCSampler", "duplicates": "skip"},
    "CMA-ES, no duplicates": {
        "space": SMALL,
        "sampler": "optuna.samplers.CmaEsSampler",
        "sampler_kwargs": {"popsize": 4},
        "duplicates": "skip",
    },
}
TRIALS = {"GP": 12}
"""Trials of a scripted sweep; 24 where nothing is said. A GP trial costs a second."""

Step = tuple[Any, ...]


def sweep(name: str, **more: Any) -> RayOptunaSearch:
    """A new searcher of a named sweep."""
    return RayOptunaSearch(**{"seed": 7, **SWEEPS[name], **more})


def loss(config: Mapping[str, Any], epoch: int) -> float:
    """A cheap landscape with an optimum inside, falling with the epochs."""
    layers = config.get("net.layers", 3)
    return (math.log10(config["opt.lr"]) + 1) ** 2 + 0.1 * abs(layers - 3) + 1 / epoch


def script(trials: int, at_once: int = 3) -> Iterator[Step]:
    """Trials ask, report and end with `at_once` of them alive: some stopped, failed or diverged."""
    for number in range(trials + at_once):
        done = number - at_once
        if done >= 0:
            outcome = {1: "stopped", 3: "diverged", 5: "failed", 7: "infeasible"}.get(done % 9, "completed")
            for epoch in range(1, 2 if outcome == "stopped" else 4):
                yield ("report", done, epoch)
            yield ("tell", done, outcome)
        if number < trials:
            yield ("ask", number)


def play(searcher: RayOptunaSearch, steps: Iterator[Step] | list[Step], asked: dict[int, Any]) -> None:
    """Carry out `steps`; the answers to asks land in `asked`, by trial number."""
    for verb, number, *rest in steps:
        if verb == "ask":
            asked[number] = searcher.ask(number)
        elif asked[number] is not None and verb == "report":
            searcher.report(trial_name(number), rest[0], loss(asked[number][0], rest[0]))
        elif asked[number] is not None:
            size = {"size": float(asked[number][0].get("net.layers", 3))}
            searcher.tell(trial_name(number), rest[0], loss(asked[number][0], 3), "as scripted", size)


def rebuild(searcher: RayOptunaSearch, steps: list[Step], asked: Mapping[int, Any]) -> RayOptunaSearch:
    """Tell a new searcher what the records say of `steps`, without asking its sampler anything."""
    for step in steps:
        if step[0] == "ask" and asked[step[1]] is not None:
            config, source, draws, _ = asked[step[1]]
            searcher.replay_asked(step[1], config, source, draws)
        elif step[0] != "ask":
            play(searcher, [step], dict(asked))
    return searcher
