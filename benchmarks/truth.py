"""What reports say, held against worlds whose truth is known.

    PYTHONPATH=. python benchmarks/truth.py importance [--seeds 12]
    PYTHONPATH=. python benchmarks/truth.py compare [--seeds 40] [--trials 40]

importance: fANOVA of random trials of functions whose variance shares are known, ours and Optuna's, and how
often the range of resamples holds the truth.

compare: searches that are alike (surrogates of benchmarks/tables, 2 % seed noise, so many seeds of each), and
how often a test calls two of them different at 5 %: by trials, one sweep a side (the precedence test, which
`compare` keeps for random search), and by sweeps, four a side (the rank test). Then random against TPE.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial
from tables import SPACE as TABLE_SPACE
from tables import Surrogate, surrogates

from service.report.course import precedence
from service.report.importance import importance
from service.report.rank_test import rank_test
from service.search.fold import StudyFold
from service.search.samplers import quiet
from service.search.space import Space

LEVEL, A_SIDE, DEALS, SEED_NOISE = 0.05, 4, 2000, 0.02

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


def losses_of_search(surrogate: Surrogate, sampler: str, seed: int, trials: int) -> NDArray[np.float64]:
    """Losses of a search's trials, infinite where one diverged."""
    search = StudyFold(Space(TABLE_SPACE), sampler=f"optuna.samplers.{sampler}", seed=seed)
    rng, losses = np.random.default_rng([seed, 1]), []
    for number in range(trials):
        end = surrogate.curve(search.ask(number).config)[-1]
        loss = end * math.exp(rng.normal(0, SEED_NOISE)) if math.isfinite(end) else math.inf
        ended = math.isfinite(loss)
        search.tell(f"{number:05d}", "completed" if ended else "diverged", loss if ended else None)
        losses.append(loss)
    return np.array(losses)


def share_by_trials(runs: Sequence[NDArray[np.float64]]) -> tuple[float, float, float]:
    """Of all pairs, those called different; with a 90 % interval over the sweeps (bootstrap)."""
    called = np.zeros((len(runs), len(runs)))
    for one, other in itertools.combinations(range(len(runs)), 2):
        better, worse = sorted((runs[one], runs[other]), key=np.min)
        called[one, other] = called[other, one] = precedence(better, worse)[1] <= LEVEL
    rng, shares = np.random.default_rng(0), []
    for _ in range(400):
        drawn = rng.integers(len(runs), size=len(runs))
        apart = drawn[:, None] != drawn[None, :]
        shares.append(called[np.ix_(drawn, drawn)][apart].mean())
    share = called[~np.eye(len(runs), dtype=bool)].mean()
    return (float(share), *map(float, np.percentile(shares, (5, 95))))


def share_by_sweeps(one: NDArray[np.float64], other: NDArray[np.float64] | None = None) -> float:
    """Of draws of four sweeps a side, those called different; of one method where there is no other."""
    rng, called = np.random.default_rng(0), 0
    for _ in range(DEALS):
        if other is None:
            sides = rng.choice(one, 2 * A_SIDE, replace=False).reshape(2, A_SIDE)
        else:
            sides = np.array([rng.choice(each, A_SIDE, replace=False) for each in (one, other)])
        called += rank_test(*sides).p <= LEVEL
    return called / DEALS


def compare_searches(seeds: int, trials: int) -> None:
    """Print how often searches that are alike are called different, and how often unlike ones are."""
    print("| task | search | called different by trials, 1 a side | by sweeps, 4 a side |")
    print("|---|---|---|---|")
    for task, surrogate in surrogates(["digits", "pumps"]).items():
        bests = {}
        for sampler in ("RandomSampler", "TPESampler"):
            with quiet():
                runs = [losses_of_search(surrogate, sampler, 1000 + seed, trials) for seed in range(seeds)]
            share, low, high = share_by_trials(runs)
            bests[sampler] = np.array([run.min() for run in runs])
            alike = f"{100 * share:.1f} % ({100 * low:.0f} to {100 * high:.0f})"
            by_sweeps = f"{100 * share_by_sweeps(bests[sampler]):.1f} %"
            print(f"| {task} | {sampler}, alike | {alike} | {by_sweeps} |", flush=True)
        unlike = share_by_sweeps(*bests.values())
        print(f"| {task} | one against the other | | {100 * unlike:.1f} % |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["importance", "compare"])
    parser.add_argument("--seeds", type=int, help="12 of importance, 40 of compare")
    parser.add_argument("--trials", type=int, default=40, help="of each search that is compared")
    words = parser.parse_args()
    if words.what == "importance":
        compare_importance(words.seeds or 12)
    else:
        compare_searches(words.seeds or 40, words.trials)
