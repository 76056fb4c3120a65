"""What reports say, held against worlds whose truth is known.

    PYTHONPATH=. python benchmarks/truth.py importance [--seeds 12]

importance: fANOVA of random trials of functions whose variance shares are known, ours and Optuna's, and how
often the range of resamples holds the truth.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from service.report.importance import importance
from service.search.samplers import quiet

SPACE = {
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
}
Unit = Sequence[float]
FUNCTIONS: dict[str, Callable[[Unit], float]] = {
    "valley": lambda u: 10 * (u[0] - 0.5) ** 2 + u[1] + 0.3 * u[2] + (u[0] - 0.5) * (u[1] - 0.5),
    "cliff": lambda u: 4 * max(0.0, 0.5 - u[0]) + 0.5 * u[2],
}


def true_shares(function: Callable[[Unit], float]) -> NDArray[np.float64]:
    """Main effects as shares of what they explain together, by quadrature."""
    grid = (np.arange(60) + 0.5) / 60
    shape = (60, 60, 60)
    values = np.array([function(u) for u in itertools.product(grid, repeat=3)]).reshape(shape)
    effects = [values.mean(axis=tuple({0, 1, 2} - {axis})).var() for axis in range(3)]
    return np.array(effects) / sum(effects)


def random_study(function: Callable[[Unit], float], trials: int, noise: float, seed: int) -> optuna.Study:
    """Trials drawn uniformly from SPACE."""
    rng = np.random.default_rng(seed)
    study = optuna.create_study()
    for _ in range(trials):
        u = rng.random(3)
        params = {
            name: kind.low * (kind.high / kind.low) ** at
            if kind.log
            else kind.low + at * (kind.high - kind.low)
            for (name, kind), at in zip(SPACE.items(), u, strict=True)
        }
        value = function(u) + noise * rng.normal()
        study.add_trial(create_trial(params=params, distributions=SPACE, value=value))
    return study


def compare_importance(seeds: int) -> None:
    """Print truth, estimates and coverage."""
    print("| function | noise | trials | truth | ours | Optuna's | resamples hold the truth |")
    print("|---|---|---|---|---|---|---|")
    for (name, function), noise, trials in itertools.product(FUNCTIONS.items(), (0.0, 0.5), (80, 300)):
        truth, ours, theirs, held = true_shares(function), [], [], []
        for seed in range(seeds):
            with quiet():
                study = random_study(function, trials, noise, seed)
                found = {share.name: share for share in importance(study).shares}
                other = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
            ours.append([found[key].fanova for key in SPACE])
            theirs.append([other[key] for key in SPACE])
            held.append(
                [
                    found[key].fanova_low <= share <= found[key].fanova_high
                    for key, share in zip(SPACE, truth, strict=True)
                ]
            )
        rows = [truth, np.mean(ours, axis=0), np.mean(theirs, axis=0), np.mean(held, axis=0)]
        cells = [" ".join(f"{value:.3f}" for value in row) for row in rows]
        print(f"| {name} | {noise} | {trials} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["importance"])
    parser.add_argument("--seeds", type=int, default=12)
    words = parser.parse_args()
    compare_importance(words.seeds)
