"""How many epochs does a rule save, and what does it lose? Recorded curves, replayed on W workers.

    python benchmarks/stopping.py --tables DIR [--json FILE] [--seeds 20] [--rules pfl,asha-4-8]

DIR holds npz files with an array `val`, (trials, epochs), lower is better; each is a task. Per seed, N
trials are drawn in random order and replayed under each rule. Columns, means over tasks of means over
seeds, with a 95% interval from resampling whole tasks (the seeds of a task share its curves):

    saved    share of the epochs not run, of those that running everything would have taken
    kept     the very best trial ran to its end
    ok       the best final loss is within 0.5% of the best there was (by size, if losses are <= 0)
    worst    ok of the worst task
    regret   how far the best final loss is above the best there was, in units of the spread between
             the best and the median trial; 1 where nothing finished
    top5     share of the five best trials that ran to their end
    pauses   hand-overs of a worker a trial, each a checkpoint and a restore
    wall     virtual time until the last worker fell idle, in whole trials

Rivals are the libraries' own code: Ray's ASHA and median rule and Optuna's pruners decide here as they
are, driven with stand-in trials. `one-then-top-10` runs every trial one epoch and the best ten to the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler

from schedulers.asha import ASHARule
from schedulers.classic_pfl import ClassicPFLRule
from schedulers.hyperband import SuccessiveHalvingRule
from schedulers.pfl import PFLRule
from schedulers.rule import Continue, Decision, Pause, Report, Resume, Rule, Stop
from schedulers.simulate import Replay, replay

Make = Callable[[int, int], Rule]  # (epochs, trials) -> a fresh rule
Array = NDArray[np.float64]


@dataclass(frozen=True)
class StandIn:
    """All that Ray's ASHA and median rule want of a trial: to be told apart."""

    trial_id: str


class Controller:
    """All that they want of the controller: whom the median rule might wait for. It never waits here."""

    def get_live_trials(self) -> list[StandIn]:
        """Nobody: no trial is ever paused."""
        return []


class RayRule(Rule):
    """One of Ray's own stopping schedulers behind our interface."""

    def __init__(self, scheduler: TrialScheduler, *, max_resource: int) -> None:
        super().__init__(max_resource=max_resource)
        scheduler.set_search_properties("loss", "min")
        self.scheduler = scheduler
        self.controller, self.trials = Controller(), dict[str, StandIn]()

    def judge(self, report: Report) -> Decision:
        """Hand the result on, and the answer back."""
        trial = self.trials.get(report.trial_id)
        if trial is None:
            trial = self.trials[report.trial_id] = StandIn(report.trial_id)
            self.scheduler.on_trial_add(self.controller, trial)
        result = {"loss": report.loss, "training_iteration": report.resource}
        if report.resource >= self.max_resource:
            self.scheduler.on_trial_complete(self.controller, trial, result)
            return Continue()
        answer = self.scheduler.on_trial_result(self.controller, trial, result)
        return Stop("Ray says so") if answer == TrialScheduler.STOP else Continue()


class OptunaRule(Rule):
    """One of Optuna's own pruners behind our interface."""

    def __init__(self, pruner: optuna.pruners.BasePruner, *, max_resource: int) -> None:
        super().__init__(max_resource=max_resource)
        # Hyperband draws a trial's bracket from a hash of the study's name.
        self.study = optuna.create_study(
            study_name="replay", pruner=pruner, sampler=optuna.samplers.RandomSampler(0)
        )
        self.trials: dict[str, optuna.Trial] = {}

    def judge(self, report: Report) -> Decision:
        """Report, and ask."""
        trial = self.trials.get(report.trial_id)
        if trial is None:
            trial = self.trials[report.trial_id] = self.study.ask()
        assert report.loss is not None
        trial.report(report.loss, report.resource)
        if report.resource >= self.max_resource:
            self.study.tell(trial, report.loss)
        elif trial.should_prune():
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return Stop("Optuna says so")
        return Continue()


class OneThenTop(Rule):
    """Every trial runs one epoch; when all have, the best `top` by it run to the end."""

    def __init__(self, *, max_resource: int, trials: int, top: int = 10) -> None:
        super().__init__(max_resource=max_resource)
        self.trials, self.top = trials, top
        self.firsts: dict[str, float] = {}

    def judge(self, report: Report) -> Decision:
        """Wait after the first epoch."""
        assert report.loss is not None
        if report.resource > 1:
            return Continue()
        self.firsts[report.trial_id] = report.loss
        return Pause("until all have run one epoch")

    def resume(self, paused: Sequence[str]) -> Resume | None:
        """The best that wait, once all have come by."""
        if len(self.last_resource) < self.trials:
            return None
        chosen = sorted(self.firsts, key=lambda trial: (self.firsts[trial], trial))[: self.top]
        return next((Resume(trial, "among the best") for trial in chosen if trial in paused), None)


def rules() -> dict[str, Make]:
    """The rules by name, ours and the rivals', each with its settings in the open."""

    def grace(epochs: int) -> int:
        return max(1, epochs // 6)

    table: dict[str, Make] = {
        "pfl": lambda r, n: PFLRule(max_resource=r, population_size=n),
        "pfl-stop-only": lambda r, n: PFLRule(max_resource=r, population_size=n, can_pause=False),
        "asha-4-1": lambda r, n: ASHARule(max_resource=r, grace_period=1),
        "asha-4-T/6": lambda r, n: ASHARule(max_resource=r, grace_period=grace(r)),
        "asha-promotion-4-1": lambda r, n: ASHARule(max_resource=r, grace_period=1, variant="promotion"),
        "asha-promotion-4-T/6": lambda r, n: ASHARule(
            max_resource=r, grace_period=grace(r), variant="promotion"
        ),
        "halving-2-T/8": lambda r, n: SuccessiveHalvingRule(
            max_resource=r,
            grace_period=-(-r // 8),
            reduction_factor=2,
            bracket_size="sweep",
            population_size=n,
        ),
        "asha-2-T/6": lambda r, n: ASHARule(max_resource=r, grace_period=grace(r), reduction_factor=2),
        "classic-pfl": lambda r, n: ClassicPFLRule(max_resource=r),
        "one-then-top-10": lambda r, n: OneThenTop(max_resource=r, trials=n),
        "ray-asha-4-1": lambda r, n: RayRule(ASHAScheduler(max_t=r, reduction_factor=4), max_resource=r),
        "ray-asha-4-T/6": lambda r, n: RayRule(
            ASHAScheduler(max_t=r, reduction_factor=4, grace_period=grace(r)), max_resource=r
        ),
        "ray-median-T/6": lambda r, n: RayRule(
            MedianStoppingRule(time_attr="training_iteration", grace_period=grace(r)), max_resource=r
        ),
        "optuna-hyperband": lambda r, n: OptunaRule(
            optuna.pruners.HyperbandPruner(max_resource=r), max_resource=r
        ),
        "optuna-median": lambda r, n: OptunaRule(optuna.pruners.MedianPruner(), max_resource=r),
        "optuna-halving": lambda r, n: OptunaRule(optuna.pruners.SuccessiveHalvingPruner(), max_resource=r),
    }
    return table


@dataclass(frozen=True, slots=True)
class Row:
    """One rule on one set of tasks; columns as in the module's docstring, intervals as (low, high)."""

    rule: str
    epochs: int
    trials: int
    workers: int
    tasks: int
    seeds: int
    saved: float
    saved_interval: tuple[float, float]
    kept: float
    ok: float
    ok_interval: tuple[float, float]
    worst: float
    worst_task: str
    regret: float
    top5: float
    pauses: float
    wall: float
    by_task: dict[str, dict[str, float]]


def tables(folder: Path, array: str, maximise: bool) -> dict[int, dict[str, Array]]:
    """Tasks by length of their curves: epochs -> name -> losses, (trials, epochs)."""
    found: dict[int, dict[str, Array]] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            if array not in file.files:
                continue
            losses = np.asarray(file[array], dtype=np.float64)
        found.setdefault(losses.shape[1], {})[path.stem] = -losses if maximise else losses
    return found


def measure(outcome: Replay, losses: Array, order: NDArray[np.int64], epochs: int) -> dict[str, float]:
    """The columns of one replay."""
    final = np.where(np.isfinite(losses[order, -1]), losses[order, -1], np.inf)
    best, median = float(final.min()), float(np.median(final[np.isfinite(final)]))
    worse = outcome.best - best
    top = order[np.argsort(final, kind="stable")[:5]]
    return {
        "saved": outcome.saved,
        "kept": float(worse == 0),
        "ok": float(worse <= 0.005 * abs(best)),
        "regret": min(worse / max(median - best, 1e-12), 1.0),
        "top5": float(np.isin(top, outcome.finished).mean()),
        "pauses": outcome.pauses / len(order),
        "wall": outcome.makespan / epochs,
    }


def on_task(make: Make, losses: Array, trials: int, workers: int, seeds: int) -> dict[str, float]:
    """Means over the seeds: the draw and the order of the trials differ, the curves are the same."""
    epochs = losses.shape[1]
    measured = []
    for seed in range(seeds):
        order = np.random.default_rng([seed, 7]).permutation(len(losses))[:trials]
        outcome = replay(make(epochs, len(order)), losses.tolist(), order.tolist(), workers)
        measured.append(measure(outcome, losses, order, epochs))
    return {name: float(np.mean([one[name] for one in measured])) for name in measured[0]}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95% interval of the mean, from resampling tasks."""
    drawn = np.random.default_rng(0).choice(np.asarray(values), (2000, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def rows(
    tasks: dict[int, dict[str, Array]], chosen: dict[str, Make], options: argparse.Namespace
) -> Iterator[Row]:
    """One row for each length of curves, number of trials, number of workers and rule."""
    for epochs, named in tasks.items():
        for trials in options.trials:
            for workers in options.workers:
                for name, make in chosen.items():
                    by_task = {
                        task: on_task(make, losses, trials, workers, options.seeds)
                        for task, losses in named.items()
                    }
                    column = {
                        key: [values[key] for values in by_task.values()]
                        for key in next(iter(by_task.values()))
                    }
                    means = {key: float(np.mean(values)) for key, values in column.items()}
                    worst = min(by_task, key=lambda task: by_task[task]["ok"])
                    yield Row(
                        rule=name,
                        epochs=epochs,
                        trials=trials,
                        workers=workers,
                        tasks=len(by_task),
                        seeds=options.seeds,
                        saved_interval=interval(column["saved"]),
                        ok_interval=interval(column["ok"]),
                        worst=by_task[worst]["ok"],
                        worst_task=worst,
                        by_task=by_task,
                        **means,
                    )


def line(row: Row) -> str:
    """A row for the eye, in percent."""
    low, high = (100 * bound for bound in row.saved_interval)
    sure, surest = (100 * bound for bound in row.ok_interval)
    return (
        f"T={row.epochs:<3d} N={row.trials:<3d} W={row.workers:<3d}{row.rule:22s}"
        f"{100 * row.saved:5.1f} [{low:4.1f},{high:5.1f}] {100 * row.kept:5.1f} "
        f"{100 * row.ok:5.1f} [{sure:5.1f},{surest:5.1f}] {100 * row.worst:5.1f} "
        f"{100 * row.regret:6.2f} {100 * row.top5:5.1f} {row.pauses:6.2f} {row.wall:6.1f}"
    )


def numbers(text: str) -> list[int]:
    """`1,16` -> [1, 16]."""
    return [int(part) for part in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Replay, print, write."""
    known = rules()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--tables", type=Path, required=True, help="folder of npz files")
    parser.add_argument("--array", default="val", help="name of the array in them")
    parser.add_argument("--maximise", action="store_true", help="higher is better: losses are its negative")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=numbers, default=[1, 4, 16, 64])
    parser.add_argument("--trials", type=numbers, default=[30, 100])
    parser.add_argument("--epochs", type=numbers, default=[10, 50], help="lengths of curves to look at")
    parser.add_argument("--rules", default=",".join(known), help="names, comma-separated")
    parser.add_argument("--without", default="", help="leave out tasks whose name begins with one of these")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.rules.split(",") if name not in known]
    if unknown:
        parser.error(f"no rule is called {unknown[0]!r}; there are {', '.join(known)}")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    out = tuple(prefix for prefix in options.without.split(",") if prefix)
    tasks = {
        epochs: {name: losses for name, losses in named.items() if not name.startswith(out)}
        for epochs, named in tables(options.tables, options.array, options.maximise).items()
        if epochs in options.epochs
    }
    if not any(tasks.values()):
        parser.error(f"no npz file in {options.tables} has an array {options.array!r} of such a length")
    print(f"{'':36s}{'saved':5s} {'':14s}  {'kept':4s} {'ok':>5s} {'':14s} worst regret  top5 pauses   wall")
    began, found = time.perf_counter(), []
    for row in rows(tasks, {name: known[name] for name in options.rules.split(",")}, options):
        found.append(row)
        print(line(row), flush=True)
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
