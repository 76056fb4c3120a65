"""What failed trials should look like to a sampler: four ways of showing them, paired by seed.

    python benchmarks/failures.py TPE --trials 60 --seeds 40

A quadratic of four parameters whose best learning rate lies just below the edge where training diverges;
a third of the space lies beyond it. Seconds for TPE, CMA-ES and NSGA-II, minutes for GP. The table it
gave stands in docs/decisions/0007.
"""

from __future__ import annotations

import argparse
import copy
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "TPE": lambda seed: TPESampler(seed=seed, multivariate=True, constant_liar=True),
    "GP": lambda seed: GPSampler(seed=seed),
    "CMA-ES": lambda seed: CmaEsSampler(seed=seed, consider_pruned_trials=True),
    "NSGA-II": lambda seed: NSGAIISampler(seed=seed, population_size=10),
}
WAYS = ("ignored", "pruned", "worst", "constraint")
SPACE = {name: FloatDistribution(0.0, 1.0) for name in ("lr", "decay", "dropout", "momentum")}


class Showing(InMemoryStorage):
    """Shows failed trials in one of the ways while `way` is set."""

    way = "ignored"

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        """As ever, but for the failed."""
        if self.way == "ignored" or states == (TrialState.WAITING,):
            return super().get_all_trials(study_id, deepcopy, states)
        trials = super().get_all_trials(study_id, deepcopy=False)
        known = [trial.value for trial in trials if trial.state == TrialState.COMPLETE]
        if known:
            trials = [self._shown(trial, max(known)) for trial in trials]
        return [trial for trial in trials if states is None or trial.state in states]

    def _shown(self, trial: FrozenTrial, worst: float) -> FrozenTrial:
        failed = trial.state == TrialState.FAIL
        if not failed and not (self.way == "constraint" and trial.state == TrialState.COMPLETE):
            return trial
        shown = copy.copy(trial)
        if failed:
            shown.state = TrialState.PRUNED if self.way == "pruned" else TrialState.COMPLETE
            shown.value = None if self.way == "pruned" else worst
        if self.way == "constraint":
            shown.system_attrs = dict(trial.system_attrs)
            shown.set_constraint("ran", 1.0 if failed else -1.0)
        return shown


def loss(config: Mapping[str, float], edge: float) -> float | None:
    """None beyond the edge."""
    if config["lr"] > edge + 0.25 * config["dropout"] - 0.15 * config["momentum"]:
        return None
    rest = 0.5 * (config["decay"] - 0.4) ** 2 + 0.3 * (config["dropout"] - 0.3) ** 2
    return 2 * (config["lr"] - edge) ** 2 + rest + 0.3 * (config["momentum"] - 0.6) ** 2


def played(kind: str, way: str, seed: int, trials: int) -> tuple[float, int]:
    """The best loss of a study, and how many of its trials failed."""
    storage = Showing()
    study = optuna.create_study(storage=storage, sampler=SAMPLERS[kind](seed))
    best, failed, edge = math.inf, 0, 0.58 + 0.02 * (seed % 5)
    for _ in range(trials):
        storage.way = way
        trial = study.ask(SPACE)
        storage.way = "ignored"
        value = loss(trial.params, edge)
        if value is None:
            study.tell(trial, state=TrialState.FAIL)
            failed += 1
        else:
            study.tell(trial, value)
            best = min(best, value)
    return best, failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sampler", choices=SAMPLERS)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=40)
    words = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    plain: np.ndarray | None = None
    for way in WAYS:
        runs = np.array([played(words.sampler, way, seed, words.trials) for seed in range(words.seeds)])
        plain = runs if plain is None else plain
        logs = np.log(runs[:, 0] / plain[:, 0])
        mean, spread = logs.mean(), 1.96 * logs.std(ddof=1) / math.sqrt(words.seeds)
        ratio = ", ".join(f"{math.exp(each):.2f}" for each in (mean - spread, mean + spread))
        print(f"{way:10} regret x {math.exp(mean):.2f} [{ratio}]  {runs[:, 1].mean():.1f} failed", flush=True)


if __name__ == "__main__":
    main()
