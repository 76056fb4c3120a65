"""What reports say, held against worlds whose truth is known.

    PYTHONPATH=. python benchmarks/truth.py importance [--seeds 12]
    PYTHONPATH=. python benchmarks/truth.py compare [--seeds 40] [--trials 40]
    PYTHONPATH=. python benchmarks/truth.py plan [--seeds 3] [--trials 60]
    PYTHONPATH=. python benchmarks/truth.py prior [--seeds 4] [--trials 40] [--tables DIR]

importance: fANOVA of random trials of functions whose variance shares are known, ours and Optuna's, and how
often the range of resamples holds the truth.

compare: searches that are alike (surrogates of `tables.py`, 2 % seed noise, so many seeds of each), and
how often a test calls two of them different at 5 %: by trials, one sweep a side (the precedence test, which
`compare` keeps for random search), and by sweeps, four a side (the rank test). Then random against TPE.

plan: searches through recorded trainings (benchmarks/tables.py) under ASHA, each planned by what its journal
holds, as `plan --like` does, and by draws from its survivors alone, as it once did; against the epochs that
these searches ran.

prior: how often the interval that a plan gives, without an earlier study, holds the epochs that then run. The
truth: random search and TPE through the recorded trainings, planned without the table in question and its
quarter, and random search through the tables of DIR (npz with an array `val`, (trials, epochs)).
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial
from tables import EPOCHS, Surrogate, surrogates
from tables import SPACE as TABLE_SPACE

from raysweep.config import Sweep, read_sweep
from raysweep.planning.curve_prior import prior_curves, recorded_tables
from raysweep.planning.earlier_curves import EarlierCurve, EarlierDraw
from raysweep.planning.plan import Costs, plan
from raysweep.report.importance import importance
from raysweep.report.rank_test import rank_test
from raysweep.report.trajectory import precedence
from raysweep.search.optuna_searcher import OptunaSearcher
from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.samplers import quiet
from raysweep.study.results.counterfactual import make_rule
from schedulers.simulate import Replay, replay

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
    search = OptunaSearcher(OptunaSpace(TABLE_SPACE), sampler=f"optuna.samplers.{sampler}", seed=seed)
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


def searched_trainings(surrogate: Surrogate, sampler: str, seed: int, trials: int) -> list[list[float]]:
    """Whole curves of the configurations that a search asks for."""
    search, curves = (
        OptunaSearcher(OptunaSpace(TABLE_SPACE), sampler=f"optuna.samplers.{sampler}", seed=seed),
        [],
    )
    for number in range(trials):
        curves.append(surrogate.curve(search.ask(number).config))
        ended = math.isfinite(end := curves[-1][-1])
        search.tell(f"{number:05d}", "completed" if ended else "diverged", end if ended else None)
    return curves


def known_of(curves: Sequence[Sequence[float]], ran: Replay) -> list[EarlierCurve]:
    """What the journal of a replayed study holds of its trials' curves."""
    known = []
    for trial, curve in enumerate(curves):
        epochs = ran.stopped[trial][0] if trial in ran.stopped else EPOCHS
        losses = [loss for loss in curve[:epochs] if math.isfinite(loss)]
        diverged = len(losses) < epochs
        losses += [math.nan] * (EPOCHS - len(losses)) if diverged else []
        known.append(EarlierCurve(tuple(losses), cut_off=trial in ran.stopped and not diverged))
    return known


def compare_plans(seeds: int, trials: int) -> None:
    """Print the epochs that ran, and those that were planned."""
    print("| task | search | ran | planned like it | by its survivors |")
    print("|---|---|---|---|---|")
    names = ["digits", "pumps", "cancer"]
    for sampler, task in itertools.product(("RandomSampler", "TPESampler"), names):
        surrogate = surrogates([task], "nearest")[task]
        words = [f"trials={trials}", f"run.epochs={EPOCHS}", f"sampler=optuna.samplers.{sampler}"]
        words.append("trial_scheduler={name: schedulers.ASHA, kwargs: {reduction_factor: 3}}")
        sweep = read_sweep("sweeps/asha.yaml", overrides=words).sweep
        rows = []
        for seed in range(seeds):
            with quiet():
                curves = searched_trainings(surrogate, sampler, seed, trials)
            kwargs = dict(sweep.trial_scheduler.kwargs)
            rule = make_rule(sweep.trial_scheduler.name, kwargs, sweep, trials)
            ran = replay(rule, curves, workers=2, configs=[{}] * trials)
            known = known_of(curves, ran)
            survivors = [list(curve.losses) for curve in known if curve.is_finished]

            def drawn(count: int, _: int, rng: np.random.Generator, of: Any = survivors) -> Any:
                return [of[place] for place in rng.integers(len(of), size=count)]

            plans = (plan(sweep, Costs((1.0,), 2), draw) for draw in (EarlierDraw(known), drawn))
            rows.append((ran.epochs, *(found.epochs.middle for found in plans)))
        cells = " | ".join(f"{value:.0f}" for value in np.mean(rows, axis=0))
        print(f"| {task} | {sampler} | {cells} |", flush=True)


RULES = {
    "PFL": "{name: schedulers.PFL}",
    "ASHA, η 3, stopping": "{name: schedulers.ASHA, kwargs: {reduction_factor: 3}}",
    "ASHA, η 3, promotion": "{name: schedulers.ASHA, kwargs: {reduction_factor: 3, variant: promotion}}",
    "ASHA, η 4, grace T/6": "{name: schedulers.ASHA, kwargs: {grace_period: GRACE}}",
    "MedianStopping": "{name: schedulers.MedianStopping}",
}


class Task(NamedTuple):
    """Searches whose epochs are planned, and then run.

    Attributes:
        tables: "ours" or "DIR".
        epochs: of each curve.
        sampler: of the searches.
        like: recorded tables of this name, or of its quarter, are left out of the prior; "" for none.
        draw: (trials, seed) -> the curves of a search.
    """

    tables: str
    epochs: int
    sampler: str
    like: str
    draw: Callable[[int, int], list[list[float]]]


def searches(folder: Path | None) -> Iterator[Task]:
    """Those through the recorded tables, and through the tables of a folder."""
    for name, z in recorded_tables().items():
        yield Task("ours", EPOCHS, "RandomSampler", name.partition("-")[0], random_rows(np.exp(z)))
    for name in ("digits", "pumps", "cancer"):
        yield Task("ours", EPOCHS, "TPESampler", name, searched_rows(name))
    for path in sorted(folder.glob("*.npz")) if folder else ():
        with np.load(path, allow_pickle=False) as file:
            losses = file["val"]
        yield Task("DIR", losses.shape[1], "RandomSampler", "", random_rows(losses))


def cover_plans(seeds: int, trials: int, folder: Path | None) -> None:
    """Print how many plans hold what then runs, and how wide they are."""
    print("| tasks | sampler | rule | in the interval | planned / ran, median | width / ran |")
    print("|---|---|---|---|---|---|")
    for (tables, epochs, sampler), tasks in grouped(searches(folder)).items():
        for name, rule in RULES.items():
            words = [f"trials={trials}", f"run.epochs={epochs}", f"sampler=optuna.samplers.{sampler}"]
            words.append(f"trial_scheduler={rule.replace('GRACE', str(max(1, epochs // 6)))}")
            sweep = read_sweep("sweeps/asha.yaml", overrides=words).sweep
            planned = {like: planned_without(like, sweep) for like in {task.like for task in tasks}}
            rows = []
            for task, seed in itertools.product(tasks, range(seeds)):
                fresh = make_rule(sweep.trial_scheduler.name, sweep.trial_scheduler.kwargs, sweep, trials)
                ran = replay(fresh, task.draw(trials, seed), workers=2, configs=[{}] * trials).epochs
                middle, low, high = planned[task.like]
                rows.append((low <= ran <= high, middle / ran, (high - low) / ran))
            held, ratios, widths = zip(*rows, strict=True)
            print(
                f"| {tables}, T = {epochs} | {sampler} | {name} | {sum(held)} of {len(held)} "
                f"| {np.median(ratios):.2f} | {np.mean(widths):.2f} |",
                flush=True,
            )


def grouped(tasks: Iterable[Task]) -> dict[tuple[str, int, str], list[Task]]:
    """Tasks of the same tables, epochs and sampler."""
    groups: dict[tuple[str, int, str], list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.tables, task.epochs, task.sampler), []).append(task)
    return dict(sorted(groups.items()))


def planned_without(like: str, sweep: Sweep) -> tuple[float, float, float]:
    """Epochs that are planned without the tables of one name: expected, least, most."""
    others = [z for name, z in recorded_tables().items() if name.partition("-")[0] != like]
    return astuple(plan(sweep, Costs((1.0,), 2), partial(prior_curves, tables=others)).epochs)


def random_rows(losses: NDArray[np.float64]) -> Callable[[int, int], list[list[float]]]:
    """(trials, seed) -> so many curves of a table, drawn at random."""

    def drawn(trials: int, seed: int) -> list[list[float]]:
        rows: list[list[float]] = losses[
            np.random.default_rng([seed, 11]).permutation(len(losses))[:trials]
        ].tolist()
        return rows

    return drawn


def searched_rows(task: str) -> Callable[[int, int], list[list[float]]]:
    """(trials, seed) -> the curves of what TPE asks for in a recorded table."""

    def drawn(trials: int, seed: int) -> list[list[float]]:
        with quiet():
            return searched_trainings(surrogates([task], "nearest")[task], "TPESampler", seed, trials)

    return lru_cache(drawn)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["importance", "compare", "plan", "prior"])
    parser.add_argument("--seeds", type=int, help="12 of importance, 40 of compare, 3 of plan, 4 of prior")
    parser.add_argument("--trials", type=int, help="of each search: 40 of compare and prior, 60 of plan")
    parser.add_argument("--tables", type=Path, help="of prior: a folder of npz files")
    words = parser.parse_args()
    if words.what == "importance":
        compare_importance(words.seeds or 12)
    elif words.what == "compare":
        compare_searches(words.seeds or 40, words.trials or 40)
    elif words.what == "prior":
        cover_plans(words.seeds or 4, words.trials or 40, words.tables)
    else:
        compare_plans(words.seeds or 3, words.trials or 60)
