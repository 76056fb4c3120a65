"""Search strategies at equal epochs: ours, Ray's OptunaSearch and bare Optuna, replayed on recorded tables.

    python benchmarks/tables.py                                    (once; the tables are in raysweep/planning)
    python benchmarks/search.py --seeds 20 --json search.json      (an hour of one core; --jobs 2)
    python benchmarks/search.py --from search.json                 (the tables below, from what was run)
    python benchmarks/search.py --cost                             (driver milliseconds per trial)

One replay has four virtual workers and epochs for 40 whole trainings (40 x 27 = 1080). A free worker
takes whom the rule resumes, else a new trial. The answers come from `tables.Surrogate`; no training, no
Ray. Our side is `OptunaSearcher` and the pure rules that the service runs; the stock side is Ray's own
`OptunaSearch` and `ASHAScheduler`, called in the order in which Ray's controller calls them (a stopped
trial gets no `on_trial_result` for its last result, only `on_trial_complete`).

random qmc tpe gp cmaes      every trial trains to the end
tpe+asha tpe+asha-promotion  ours; grace period 3, reduction factor 3: rungs at 3 and 9
tpe+pfl                      ours, 100 trials
honest                       our searcher under Ray's ASHAScheduler: the pair of the next line
stock-tpe+asha               OptunaSearch under Ray's ASHAScheduler: a stopped trial is told as complete
stock-tpe                    OptunaSearch, every trial to the end
optuna-tpe optuna-tpe+sha    bare Optuna: ask, report, tell; with its SuccessiveHalvingPruner

`regret` after so many epochs: of the trials that have trained to the end, the best final loss, less the
lowest the table has (20,000 random points and all that any search found), in percent of what the median
random configuration is away from it. Only whole trials count, since only they are what they promise.
Intervals: 95%, bootstrap over seeds within each task; what they say holds for these tasks. A difference
is paired by task and seed (the first 12 configurations of a seed are the same for all searchers but QMC
and CMA-ES), and "not distinguishable" where its interval holds 0.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - the environment first
import optuna  # noqa: E402
from ray.tune.schedulers import ASHAScheduler  # noqa: E402
from search_methods import BUDGET, TPE, WHOLE, Bare, Ours, SearchMethod, Stock, search, trial_name  # noqa: E402
from stopping import OptunaRule, RayRule  # noqa: E402 - the benchmark beside this one
from tables import EPOCHS, SPACE, Surrogate, config_at, surrogates  # noqa: E402

from raysweep.search.export import export_file  # noqa: E402
from schedulers import ASHARule, FIFORule, PFLRule, Rule  # noqa: E402

MARKS = (10 * EPOCHS, 20 * EPOCHS, 40 * EPOCHS)
TASKS = ("digits", "diabetes", "cancer", "pumps", "kin40k", "protein", "parkinsons")
PFL_TRIALS = 100

HALVING = {"max_resource": EPOCHS, "grace_period": 3, "reduction_factor": 3}


def _fifo() -> Rule:
    return FIFORule(max_resource=EPOCHS)


def _ray_asha() -> Rule:
    return RayRule(ASHAScheduler(max_t=EPOCHS, grace_period=3, reduction_factor=3), max_resource=EPOCHS)


def _optuna_sha() -> Rule:
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=3)
    return OptunaRule(pruner, max_resource=EPOCHS)


def _ours(sampler: str, **words: Any) -> Callable[[int], SearchMethod]:
    return lambda seed: Ours(f"optuna.samplers.{sampler}", seed, **words)


# name -> searcher, rule, how many trials at most
STRATEGIES: dict[str, tuple[Callable[[int], SearchMethod], Callable[[], Rule], int]] = {
    "random": (_ours("RandomSampler"), _fifo, WHOLE),
    "qmc": (_ours("QMCSampler", points=()), _fifo, WHOLE),
    "tpe": (_ours("TPESampler"), _fifo, WHOLE),
    "gp": (_ours("GPSampler"), _fifo, WHOLE),
    "cmaes": (_ours("CmaEsSampler", points=()), _fifo, WHOLE),
    "random+asha": (_ours("RandomSampler"), lambda: ASHARule(**HALVING), BUDGET),
    "tpe+asha": (_ours("TPESampler"), lambda: ASHARule(**HALVING), BUDGET),
    "tpe+asha-promotion": (
        _ours("TPESampler"),
        lambda: ASHARule(**HALVING, variant="promotion"),
        BUDGET,
    ),
    "tpe+pfl": (
        _ours("TPESampler"),
        lambda: PFLRule(max_resource=EPOCHS, population_size=PFL_TRIALS),
        PFL_TRIALS,
    ),
    "honest": (_ours("TPESampler"), _ray_asha, BUDGET),
    "stock-tpe+asha": (Stock, _ray_asha, BUDGET),
    "stock-tpe": (Stock, _fifo, WHOLE),
    "optuna-tpe": (Bare, _fifo, WHOLE),
    "optuna-tpe+sha": (Bare, _optuna_sha, BUDGET),
}

PAIRS = [
    ("honest", "stock-tpe+asha"),
    ("tpe+asha", "stock-tpe+asha"),
    ("tpe+asha-promotion", "stock-tpe+asha"),
    ("tpe+pfl", "stock-tpe+asha"),
    ("tpe+asha", "optuna-tpe+sha"),
    ("tpe", "stock-tpe"),
    ("tpe", "optuna-tpe"),
    *((name, "random") for name in ("qmc", "tpe", "gp", "cmaes", "random+asha")),
    *((name, "tpe") for name in ("gp", "cmaes", "tpe+asha", "tpe+pfl")),
]


def best_after(found: Sequence[Sequence[float]], epochs: int, otherwise: float) -> float:
    """The best final loss among whole trials within so many epochs."""
    return min((loss for spent, _, loss in found if spent <= epochs), default=otherwise)


def one(task: str, seed: int, names: Sequence[str], kind: str) -> dict[str, Any]:
    """Every strategy once on a task, by one seed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = _table(task, kind)
    found = {}
    for name in names:
        make, rule, trials = STRATEGIES[name]
        found[name] = search(make(seed), rule(), table.curve, trials)
    return {"task": task, "seed": seed, "found": found}


_TABLES: dict[tuple[str, str], Surrogate] = {}  # fitted once in each process


def _table(task: str, kind: str) -> Surrogate:
    if (task, kind) not in _TABLES:
        _TABLES[task, kind] = surrogates([task], kind)[task]
    return _TABLES[task, kind]


def landscape(task: str, kind: str) -> tuple[float, float]:
    """Lowest and median final loss of 20,000 random configurations; one that diverged counts as infinite."""
    table = _table(task, kind)
    draws = np.random.default_rng(0).random((20_000, len(SPACE)))
    final = np.array([table.curve(config_at(point))[-1] for point in draws])
    final[~np.isfinite(final)] = np.inf
    return float(final.min()), float(np.median(final))


def regrets(rows: Sequence[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """By name and task, (seeds, marks), percent of the gap between the best and the median configuration."""
    regret: dict[str, dict[str, Any]] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = sorted((row for row in rows if row["task"] == task), key=lambda row: int(row["seed"]))
        low, median = landscape(task, kind)
        seen = [loss for row in mine for found in row["found"].values() for _, _, loss in found]
        low = min([low, *seen])
        for name in (name for name in STRATEGIES if any(name in row["found"] for row in mine)):
            values = [
                [best_after(row["found"][name], mark, median) for mark in MARKS]
                for row in mine
                if name in row["found"]
            ]
            regret.setdefault(name, {})[task] = 100 * (np.array(values) - low) / (median - low)
    return regret


def interval(by_task: Sequence[np.ndarray], seed: int = 0) -> tuple[float, float, float]:
    """Mean over tasks of the mean over seeds, with its 95% interval: seeds are resampled, tasks are not."""
    rng = np.random.default_rng(seed)
    drawn = np.mean([rng.choice(values, (4000, len(values))).mean(axis=1) for values in by_task], axis=0)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(np.mean([values.mean() for values in by_task])), float(low), float(high)


def show(rows: Sequence[dict[str, Any]], kind: str) -> Iterator[str]:
    """The tables, as Markdown."""
    regret = regrets(rows, kind)
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    yield f"tasks: {', '.join(tasks)}; surrogate: {kind}\n"
    yield (
        "| strategy | " + " | ".join(f"{mark} epochs" for mark in MARKS) + " | seeds | trials begun, whole |"
    )
    yield "|---|" + "---|" * (len(MARKS) + 2)
    for name, by_task in regret.items():
        cells = []
        for place in range(len(MARKS)):
            mean, low, high = interval([values[:, place] for values in by_task.values()])
            cells.append(f"{mean:.1f} [{low:.1f}, {high:.1f}]")
        begun = [row["found"][name][-1][1] for row in rows if row["found"].get(name)]  # by its last whole one
        whole = [len(row["found"][name]) for row in rows if name in row["found"]]
        seeds = min(len(values) for values in by_task.values())
        yield f"| {name} | {' | '.join(cells)} | {seeds} | {np.mean(begun):.0f}, {np.mean(whole):.0f} |"
    yield "\n| after 1080 epochs | " + " | ".join(tasks) + " |"
    yield "|---|" + "---|" * len(tasks)
    for name, by_task in regret.items():
        yield f"| {name} | " + " | ".join(f"{by_task[task][:, -1].mean():.1f}" for task in tasks) + " |"
    yield "\n| difference in regret, points | " + " | ".join(f"{mark} epochs" for mark in MARKS) + " |"
    yield "|---|" + "---|" * len(MARKS)
    for name, rival in PAIRS:
        if name in regret and rival in regret:
            cells = [difference(regret[name], regret[rival], place) for place in range(len(MARKS))]
            yield f"| {name} - {rival} | {' | '.join(cells)} |"


def difference(one: Mapping[str, Any], other: Mapping[str, Any], place: int) -> str:
    """Paired by task and seed; negative where the first is better."""
    pairs = []
    for task in one:
        seeds = min(len(one[task]), len(other[task]))
        pairs.append(one[task][:seeds, place] - other[task][:seeds, place])
    mean, low, high = interval(pairs)
    verdict = " not distinguishable" if low <= 0 <= high else ""
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]{verdict}"


def cost(trials: int, epochs: int = 10) -> Iterator[str]:
    """Milliseconds of the driver's CPU and wall time per trial: suggest, 10 results, complete; TPE."""
    import tempfile

    curve = [1 / epoch for epoch in range(1, epochs + 1)]
    with tempfile.TemporaryDirectory() as folder:
        journal = optuna.storages.journal.JournalFileBackend(f"{folder}/journal.log")
        methods: dict[str, Callable[[], SearchMethod]] = {
            "ours (memory; the journal is the study's)": lambda: Ours(TPE, 0),
            "OptunaSearch, in memory": lambda: Stock(0),
            "OptunaSearch, journal file": lambda: Stock(0, storage=optuna.storages.JournalStorage(journal)),
            "OptunaSearch, sqlite": lambda: Stock(
                0, storage=optuna.storages.RDBStorage(f"sqlite:///{folder}/optuna.db")
            ),
        }
        yield f"| {trials} trials of {epochs} epochs | CPU, ms a trial | wall, ms a trial |\n|---|---|---|"
        for name, make in methods.items():
            method = make()
            cpu, wall = time.process_time(), time.perf_counter()
            for number in range(trials):
                method.ask(number)
                for epoch, loss in enumerate(curve[:-1], start=1):
                    method.report(trial_name(number), epoch, loss)
                method.end(trial_name(number), epochs, curve[-1], "completed")
            cpu, wall = (time.process_time() - cpu, time.perf_counter() - wall)
            yield f"| {name} | {1000 * cpu / trials:.1f} | {1000 * wall / trials:.1f} |"
            if isinstance(method, Ours):
                began = time.perf_counter()
                export_file(method.searcher.study, Path(folder) / "export.db")
                spent = 1000 * (time.perf_counter() - began) / trials
                yield f"| and its export to optuna.db, once | | {spent:.1f} |"


def _found(done: Mapping[tuple[str, int], dict[str, Any]], task: str, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = done.get((task, seed), {}).get("found", {})
    return found


def told(files: Sequence[Path]) -> tuple[list[dict[str, Any]], str]:
    """The searches of several files together, and their surrogate."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    kinds = set()
    for file in files:
        words = json.loads(file.read_text())
        kinds.add(words["surrogate"])
        for row in words["rows"]:
            kept = rows.setdefault((row["task"], row["seed"]), {**row, "found": {}})
            kept["found"] |= row["found"]
    if len(kinds) > 1:
        raise SystemExit("searches on different surrogates are not to be compared")
    return sorted(rows.values(), key=lambda row: (row["task"], row["seed"])), kinds.pop()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(STRATEGIES), default=list(STRATEGIES))
    parser.add_argument("--surrogate", choices=["smooth", "nearest"], default="smooth")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path, help="every search goes here, and what is there is kept")
    parser.add_argument("--from", dest="read", nargs="+", type=Path, help="show what --json wrote")
    parser.add_argument("--cost", action="store_true", help="measure the searchers themselves")
    parser.add_argument("--trials", type=int, default=100, help="with --cost")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if options.cost:
        print(*cost(options.trials), sep="\n")
        return
    if options.read:
        print(*show(*told(options.read)), sep="\n")
        return
    rows = json.loads(options.json.read_text())["rows"] if options.json and options.json.exists() else []
    done = {(row["task"], row["seed"]): row for row in rows}
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = [
            pool.submit(one, task, seed, missing, options.surrogate)
            for seed in seeds
            for task in options.tasks
            if (missing := [name for name in options.only if name not in _found(done, task, seed)])
        ]
        for number, job in enumerate(jobs, start=1):
            new = job.result()
            key = new["task"], new["seed"]
            if key in done:
                done[key]["found"] |= new["found"]
            else:
                done[key] = new
                rows.append(new)
            if options.json:
                options.json.write_text(json.dumps({"surrogate": options.surrogate, "rows": rows}))
            print(f"{number} of {len(jobs)}", file=sys.stderr, flush=True)
    print(*show(rows, options.surrogate), sep="\n")


if __name__ == "__main__":
    main()
