"""What a sweep costs beyond its training: ours against stock Ray Tune, interleaved in one run.

The template's sweep: 50 trials of an MLP 1-64-64-64-1 on 8,000 rows, SPlus, 10 epochs, TPE, two slots,
nobody stopped early, so that everybody does the same work with the same trainable. Whole processes:
from `python` to exit, imports and Ray's start included.

    python benchmarks/overhead.py --rounds 3
    python benchmarks/overhead.py --rounds 5 --only ours stock-reuse

ours              launch.py run, MLflow tracking on, journal on
ours-lanes        the same with four trials to a core: two processes of four lanes, which train together
ours-share        the same shares of a core, eight processes
stock-share       as stock-reuse with these shares, eight processes
stock-reuse       Tuner + OptunaSearch, reuse_actors, no tracking, no loggers
stock-reuse-mlflow  the same with MLflowLoggerCallback
stock-mlflow      Tuner + OptunaSearch + MLflowLoggerCallback, reuse_actors off (Ray's default)

`ideal` is the sum of the seconds spent inside epochs, divided by the cores. `--rule ASHA` stops trials (from
epoch 1 on, a third goes on), by ours and by Ray's: who is stopped depends on who comes first, so there epochs
a second count.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import runpy
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
MODES = (
    "ours",
    "ours-lanes",
    "ours-share",
    "stock-reuse",
    "stock-share",
    "stock-reuse-mlflow",
    "stock-mlflow",
)
USUAL = [mode for mode in MODES if not mode.endswith("-share")]
TRIALS, EPOCHS, CORES, LANES = 50, 10, 2, 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--only", nargs="+", choices=MODES, default=USUAL)
    parser.add_argument("--rule", choices=("FIFO", "ASHA"), default="FIFO")
    parser.add_argument("--json", type=Path, help="write every run's figures here")
    parser.add_argument("--child", choices=MODES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.trials, args.rule)
        return
    adopt_orphans()
    rows: list[dict[str, Any]] = []
    for round_ in range(args.rounds):
        for mode in args.only:
            row = {"round": round_, "mode": mode, **measure(mode, args.trials, args.rule)}
            print(json.dumps(row), flush=True)
            rows.append(row)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))


def measure(mode: str, trials: int, rule: str) -> dict[str, Any]:
    """One whole process in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).resolve()), "--child", mode]
        command += ["--trials", str(trials), "--rule", rule]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        environment["XDG_STATE_HOME"] = folder  # sweeps of others on this machine share no slots with it
        with cpu_of_children() as used:
            started = time.perf_counter()
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            wall = time.perf_counter() - started
            cpu = used()
    if done.returncode != 0:
        raise SystemExit(f"{mode} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {"wall_s": round(wall, 2), "cpu_s": round(cpu, 1), **figures}


def adopt_orphans() -> None:
    """Be the parent of whatever a sweep leaves behind, so that its CPU time counts (Linux)."""
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


@contextlib.contextmanager
def cpu_of_children() -> Iterator[Callable[[], float]]:
    """CPU seconds of all processes below this one, looked at five times a second while they live."""
    used: dict[tuple[int, float], float] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    times = process.cpu_times()
                    used[process.pid, process.create_time()] = times.user + times.system

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield lambda: sum(used.values())
    finally:
        over.set()
        thread.join()


def child(mode: str, trials: int, rule: str) -> None:
    """Run one sweep in this process and print its figures as the last line."""
    shares = LANES if mode.endswith(("-lanes", "-share")) else 1
    if mode.startswith("ours"):
        epochs = ours(trials, rule, shares, "auto" if mode == "ours-lanes" else 1)
    else:
        epochs = stock(trials, rule, shares, mode != "stock-mlflow", "mlflow" in mode)
    used = resource.getrusage(resource.RUSAGE_SELF)
    workers: dict[str, int] = {}
    peaks: dict[str, float] = {}
    for worker, _, memory_mb in epochs:
        workers[worker] = workers.get(worker, 0) + 1
        peaks[worker] = max(peaks.get(worker, 0.0), memory_mb)
    training = sum(seconds for _, seconds, _ in epochs)
    print(
        json.dumps(
            {
                "driver_cpu_s": round(used.ru_utime + used.ru_stime, 2),
                "driver_peak_mb": used.ru_maxrss // 1024,
                "training_s": round(training, 2),
                "ideal_s": round(training / CORES, 2),
                "trials_mb": round(sum(peaks.values())),
                "epochs": len(epochs),
                "epochs_by_process": sorted(workers.values(), reverse=True),
            }
        )
    )


def ours(trials: int, rule: str, shares: int, lanes: int | str) -> list[tuple[str, float, float]]:
    """The command itself, on the shipped classic_pfl.yaml with another trial scheduler."""
    from raysweep.study.journal.events import EpochReported
    from raysweep.study.journal.log import read_events

    settings = [
        f"trials={trials}",
        f"run.epochs={EPOCHS}",
        f"trial_scheduler={{name: schedulers.{rule}}}",
        f"resources_per_trial={{cpu: {1 / shares:g}, gpu: 0, lanes: {lanes}}}",
        f"max_concurrent_trials={CORES * shares}",
        "study_name=overhead",
    ]
    sets = [word for setting in settings for word in ("--set", setting)]
    sys.argv = ["launch.py", "run", str(ROOT / "sweeps/classic_pfl.yaml"), *sets]
    try:
        runpy.run_path(str(ROOT / "launch.py"), run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    events = read_events(Path("runs/overhead/journal"))
    return [
        (event.worker, event.metrics["epoch_s"], event.metrics["peak_memory_mb"])
        for event in events
        if isinstance(event, EpochReported)
    ]


def stock(trials: int, rule: str, shares: int, reuse: bool, tracked: bool) -> list[tuple[str, float, float]]:
    """A plain Tuner over the same trainable, data and space, with its own searcher."""
    import logging

    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    import ray
    import torch  # noqa: F401  # a program of one's own has its trainable in it, and so imports torch
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from raysweep.config import read_sweep
    from trainables.data import load
    from trainables.tune import TorchTrainable

    sweep = read_sweep(ROOT / "sweeps/classic_pfl.yaml", overrides=(f"run.epochs={EPOCHS}",)).sweep
    config = sweep.run.model_dump(mode="json")
    config["net_config"]["layers"] = tune.randint(3, 7)
    config["optimizer_config"]["lr"] = tune.loguniform(1e-3, 1.0)
    config["scheduler_config"]["min_lr"] = tune.loguniform(1e-7, 1e-3)
    config["trial"] = {"seed": sweep.run.seeds[0]}
    epochs: list[tuple[str, float, float]] = []

    class Count(tune.Callback):
        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            worker = f"{result['hostname']}:{result['pid']}"
            epochs.append((worker, result["epoch_s"], result["peak_memory_mb"]))

    callbacks: list[Any] = [Count()]
    if tracked:
        uri = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
        callbacks.append(MLflowLoggerCallback(tracking_uri=uri, experiment_name="overhead"))
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    trainable = tune.with_parameters(TorchTrainable, data=load(sweep.run))
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1 / shares}),
        param_space=config,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(metric="val_loss", mode="min", seed=42),
            scheduler=ASHAScheduler(metric="val_loss", mode="min", max_t=EPOCHS, reduction_factor=3)
            if rule == "ASHA"
            else None,
            num_samples=trials,
            max_concurrent_trials=CORES * shares,
            reuse_actors=reuse,
        ),
        run_config=tune.RunConfig(
            storage_path=str(Path.cwd() / "ray"),
            stop={"training_iteration": EPOCHS},
            callbacks=callbacks,
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    ray.shutdown()
    return epochs


def table(rows: list[dict[str, Any]]) -> str:
    """Medians per mode, and the ratio of ours to each within its own round."""
    lines = [
        "",
        "mode                wall_s   cpu_s  epochs/s  wall/ideal  driver_cpu_s  driver_peak_mb  trials_mb"
        "  ours/it  epochs by process",
    ]
    ours_wall = {row["round"]: row["wall_s"] for row in rows if row["mode"] == "ours"}
    for mode in dict.fromkeys(row["mode"] for row in rows):
        mine = [row for row in rows if row["mode"] == mode]
        ratios = [ours_wall[row["round"]] / row["wall_s"] for row in mine if row["round"] in ours_wall]
        lines.append(
            f"{mode:<18} {median(row['wall_s'] for row in mine):>7.1f}"
            f" {median(row['cpu_s'] for row in mine):>7.1f}"
            f" {median(row['epochs'] / row['wall_s'] for row in mine):>9.1f}"
            f" {median(row['wall_s'] / row['ideal_s'] for row in mine):>11.2f}"
            f" {median(row['driver_cpu_s'] for row in mine):>13.1f}"
            f" {median(row['driver_peak_mb'] for row in mine):>15.0f}"
            f" {median(row['trials_mb'] for row in mine):>10.0f}"
            f" {median(ratios) if ratios else float('nan'):>8.2f}  {mine[-1]['epochs_by_process'][:4]}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
