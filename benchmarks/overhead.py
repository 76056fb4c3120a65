"""What a sweep costs beyond its training: ours against stock Ray Tune, interleaved in one run.

The template's sweep: 50 trials of an MLP 1-64-64-64-1 on 8,000 rows, SPlus, 10 epochs, TPE, two slots,
nobody stopped early, so that everybody does the same work with the same trainable. Whole processes:
from `python` to exit, imports and Ray's start included.

    python benchmarks/overhead.py --rounds 3
    python benchmarks/overhead.py --rounds 5 --only ours stock-reuse

ours              launch.py run, MLflow tracking on, journal on
ours-lanes        the same with four trials to a core: two processes of four lanes, which train together
stock-reuse       Tuner + OptunaSearch, reuse_actors, no tracking, no loggers
stock-reuse-mlflow  the same with MLflowLoggerCallback
stock-mlflow      Tuner + OptunaSearch + MLflowLoggerCallback, reuse_actors off (Ray's default)

`ideal` is the sum of the seconds spent inside epochs, divided by the slots.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODES = ("ours", "ours-lanes", "stock-reuse", "stock-reuse-mlflow", "stock-mlflow")
TRIALS, EPOCHS, SLOTS, LANES = 50, 10, 2, 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--only", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--json", type=Path, help="write every run's figures here")
    parser.add_argument("--child", choices=MODES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.trials)
        return
    rows: list[dict[str, Any]] = []
    for round_ in range(args.rounds):
        for mode in args.only:
            row = {"round": round_, "mode": mode, **measure(mode, args.trials)}
            print(json.dumps(row), flush=True)
            rows.append(row)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))


def measure(mode: str, trials: int) -> dict[str, Any]:
    """One whole process in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).resolve()), "--child", mode, "--trials", str(trials)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        started = time.perf_counter()
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        wall = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"{mode} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {"wall_s": round(wall, 2), **figures}


def child(mode: str, trials: int) -> None:
    """Run one sweep in this process and print its figures as the last line."""
    lanes = LANES if mode == "ours-lanes" else 1
    epochs = (
        ours(trials, lanes) if mode.startswith("ours") else stock(trials, "reuse" in mode, "mlflow" in mode)
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    workers: dict[str, int] = {}
    for worker, _ in epochs:
        workers[worker] = workers.get(worker, 0) + 1
    training = sum(seconds for _, seconds in epochs)
    print(
        json.dumps(
            {
                "driver_cpu_s": round(used.ru_utime + used.ru_stime, 2),
                "driver_peak_mb": used.ru_maxrss // 1024,
                "training_s": round(training, 2),
                "ideal_s": round(training / SLOTS, 2),
                "epochs": len(epochs),
                "epochs_by_process": sorted(workers.values(), reverse=True),
            }
        )
    )


def ours(trials: int, lanes: int) -> list[tuple[str, float]]:
    """The command itself, on the shipped classic_pfl.yaml with the trial scheduler taken out."""
    from raysweep.study.journal.events import EpochReported
    from raysweep.study.journal.log import read_events

    settings = [
        f"trials={trials}",
        f"run.epochs={EPOCHS}",
        "trial_scheduler={name: schedulers.FIFO}",
        f"resources_per_trial={{cpu: {1 / lanes:g}, gpu: 0}}",
        f"max_concurrent_trials={SLOTS * lanes}",
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
    return [(event.worker, event.metrics["epoch_s"]) for event in events if isinstance(event, EpochReported)]


def stock(trials: int, reuse: bool, tracked: bool) -> list[tuple[str, float]]:
    """A plain Tuner over the same trainable, data and space, with its own searcher."""
    import logging

    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    import ray
    import torch  # noqa: F401  # a program of one's own has its trainable in it, and so imports torch
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
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
    epochs: list[tuple[str, float]] = []

    class Count(tune.Callback):
        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            epochs.append((f"{result['hostname']}:{result['pid']}", result["epoch_s"]))

    callbacks: list[Any] = [Count()]
    if tracked:
        uri = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
        callbacks.append(MLflowLoggerCallback(tracking_uri=uri, experiment_name="overhead"))
    ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    trainable = tune.with_parameters(TorchTrainable, data=load(sweep.run))
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=config,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(metric="val_loss", mode="min", seed=42),
            num_samples=trials,
            max_concurrent_trials=SLOTS,
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
        "mode                wall_s  wall/ideal  driver_cpu_s  driver_peak_mb  ours/it  epochs by process",
    ]
    ours_wall = {row["round"]: row["wall_s"] for row in rows if row["mode"] == "ours"}
    for mode in dict.fromkeys(row["mode"] for row in rows):
        mine = [row for row in rows if row["mode"] == mode]
        ratios = [ours_wall[row["round"]] / row["wall_s"] for row in mine if row["round"] in ours_wall]
        lines.append(
            f"{mode:<18} {median(row['wall_s'] for row in mine):>7.1f}"
            f" {median(row['wall_s'] / row['ideal_s'] for row in mine):>11.2f}"
            f" {median(row['driver_cpu_s'] for row in mine):>13.1f}"
            f" {median(row['driver_peak_mb'] for row in mine):>15.0f}"
            f" {median(ratios) if ratios else float('nan'):>8.2f}  {mine[-1]['epochs_by_process'][:4]}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
