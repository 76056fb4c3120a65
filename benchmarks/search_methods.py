"""Searchers behind one method, and the loop that replays a search on four virtual workers.

Shared by search.py and warm_start.py.
"""

from __future__ import annotations

import heapq
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - the environment first
import optuna  # noqa: E402
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution  # noqa: E402
from ray.tune.search.optuna import OptunaSearch  # noqa: E402
from tables import EPOCHS, SPACE, config_at  # noqa: E402 - the file beside this one

from raysweep.search.optuna_searcher import OptunaSearcher  # noqa: E402
from raysweep.search.optuna_space import OptunaSpace  # noqa: E402
from schedulers import Continue, Float, Pause, Report, Rule, Stop  # noqa: E402

WORKERS, WHOLE = 4, 40
BUDGET = WHOLE * EPOCHS
TPE = "optuna.samplers.TPESampler"
STARTUP = {"n_startup_trials": 2 * len(SPACE)}  # what our searcher fills in; all sides get the same
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    name: (FloatDistribution if isinstance(domain, Float) else IntDistribution)(
        domain.low, domain.high, log=domain.log
    )
    for name, domain in SPACE.items()
}

Config = Mapping[str, Any]


def first_points(seed: int) -> list[dict[str, Any]]:
    """What every searcher but QMC and CMA-ES begins with, so that a difference is not their first luck."""
    return [
        config_at(point) for point in np.random.default_rng([seed, 11]).random((2 * len(SPACE), len(SPACE)))
    ]


class SearchMethod(Protocol):
    """What a replay asks of a searcher, whosever it is."""

    def ask(self, number: int) -> Config:
        """The next configuration."""

    def report(self, trial: str, epoch: int, loss: float) -> None:
        """An epoch is over, and the trial goes on or waits."""

    def end(self, trial: str, epoch: int, loss: float, ending: str) -> None:
        """The last epoch is over: `completed`, `stopped` or `diverged`."""

    def waits(self, trial: str, waits: bool) -> None:
        """The trial is paused, or goes on."""


class Ours:
    """`OptunaSearcher` as the service drives it."""

    def __init__(self, sampler: str, seed: int, **words: Any) -> None:
        words.setdefault("points", first_points(seed))
        self.searcher = OptunaSearcher(OptunaSpace(SPACE), sampler=sampler, seed=seed, **words)

    def ask(self, number: int) -> Config:
        """The next configuration."""
        asked = self.searcher.ask(number)
        assert asked is not None
        return asked.config

    def report(self, trial: str, epoch: int, loss: float) -> None:
        """Hand on an epoch's loss."""
        self.searcher.report(trial, epoch, loss)

    def end(self, trial: str, epoch: int, loss: float, ending: str) -> None:
        """Hand on the last epoch, and how the trial ended."""
        self.searcher.report(trial, epoch, loss)
        self.searcher.tell(trial, ending, loss if ending == "completed" else None)

    def waits(self, trial: str, waits: bool) -> None:
        """Say that the trial waits, or goes on."""
        (self.searcher.paused if waits else self.searcher.resumed)(trial)


class Stock:
    """Ray's OptunaSearch, called as Ray's controller calls it."""

    def __init__(self, seed: int, **words: Any) -> None:
        sampler = optuna.samplers.TPESampler(seed=seed, **STARTUP)
        self.searcher = OptunaSearch(
            DISTRIBUTIONS,
            metric="loss",
            mode="min",
            sampler=sampler,
            points_to_evaluate=first_points(seed),
            **words,
        )

    def ask(self, number: int) -> Config:
        """The next configuration."""
        nested = self.searcher.suggest(trial_name(number))
        assert isinstance(nested, dict)
        return nested

    def report(self, trial: str, epoch: int, loss: float) -> None:
        """Hand on an epoch's loss."""
        self.searcher.on_trial_result(trial, {"loss": loss, "training_iteration": epoch})

    def end(self, trial: str, epoch: int, loss: float, ending: str) -> None:
        """Hand on the last epoch, and how the trial ended."""
        self.searcher.on_trial_complete(trial, {"loss": loss, "training_iteration": epoch})

    def waits(self, trial: str, waits: bool) -> None:
        """Say that the trial waits, or goes on."""
        raise NotImplementedError("Ray's ASHA pauses nobody")


class Bare:
    """Optuna by itself: ask, report, tell, with PRUNED for whom its pruner stops."""

    def __init__(self, seed: int) -> None:
        self.study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, **STARTUP))
        for point in first_points(seed):
            self.study.enqueue_trial(point)
        self.trials: dict[str, optuna.Trial] = {}

    def ask(self, number: int) -> Config:
        """The next configuration."""
        self.trials[trial_name(number)] = trial = self.study.ask(DISTRIBUTIONS)
        return trial.params

    def report(self, trial: str, epoch: int, loss: float) -> None:
        """Hand on an epoch's loss."""
        self.trials[trial].report(loss, epoch)

    def end(self, trial: str, epoch: int, loss: float, ending: str) -> None:
        """Hand on the last epoch, and how the trial ended."""
        self.report(trial, epoch, loss)
        states = {"stopped": optuna.trial.TrialState.PRUNED, "diverged": optuna.trial.TrialState.FAIL}
        if ending == "completed":
            self.study.tell(self.trials[trial], loss)
        else:
            self.study.tell(self.trials[trial], state=states[ending])

    def waits(self, trial: str, waits: bool) -> None:
        """Say that the trial waits, or goes on."""
        raise NotImplementedError("Optuna's pruners pause nobody")


def search(
    method: SearchMethod,
    rule: Rule,
    curve: Callable[[Config], Sequence[float]],
    trials: int = WHOLE,
    budget: int = BUDGET,
) -> list[tuple[int, int, float]]:
    """Replay one search: for every whole trial, in order, (epochs spent, trials begun, final loss)."""
    running: list[tuple[float, int, int]] = []  # (until, ticket, trial)
    curves: list[Sequence[float]] = []
    configs: list[Config] = []
    epochs: list[int] = []
    paused: set[int] = set()
    found, spent, now = [], 0, 0.0
    while True:
        while len(running) < WORKERS and spent + len(running) < budget:
            resume = rule.resume([trial_name(trial) for trial in sorted(paused)]) if paused else None
            if resume is not None:
                rule.resumed(resume)
                trial = int(resume.trial_id)
                paused.remove(trial)
                method.waits(trial_name(trial), False)
            elif len(configs) < trials:
                trial = len(configs)
                configs.append(method.ask(trial))
                curves.append(curve(configs[-1]))
                epochs.append(0)
                if len(configs) == trials:
                    rule.no_more_trials([trial_name(each) for each in range(trials)])
            else:
                break
            heapq.heappush(running, (now + 1, len(curves) * BUDGET + spent, trial))
        if not running:
            return found
        now, _, trial = heapq.heappop(running)
        spent, epochs[trial] = spent + 1, epochs[trial] + 1
        name, epoch, loss = trial_name(trial), epochs[trial], float(curves[trial][epochs[trial] - 1])
        decision = rule.report(Report(name, epoch, loss, configs[trial]))
        if isinstance(decision, Stop) or epoch == EPOCHS:
            ending = "completed" if epoch == EPOCHS and np.isfinite(loss) else "stopped"
            method.end(name, epoch, loss, ending if np.isfinite(loss) else "diverged")
            if ending == "completed":
                found.append((spent, len(configs), loss))
            continue
        method.report(name, epoch, loss)
        if isinstance(decision, Pause):
            paused.add(trial)
            method.waits(name, True)
        elif spent + len(running) < budget:
            assert isinstance(decision, Continue)
            heapq.heappush(running, (now + 1, spent, trial))


def trial_name(trial: int) -> str:
    return f"{trial:05d}"
