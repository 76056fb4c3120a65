"""What a thousand trials cost their driver: ours against stock Ray Tune, on a trainable that does nothing.

    python benchmarks/scale.py                       # 1,000 trials, as many at once as --concurrent
    python benchmarks/scale.py --trials 10000 --concurrent 200
    python benchmarks/scale.py --trials 200 --epochs 270 --grace 90    # many epochs between two decisions
    python benchmarks/scale.py --only ours --profile # where the driver's time goes

ours           journal, status.json, MLflow tracking, ASHA; the whole of `run_tuner`
ours-no-ray    what of it is ours: the same events through journal, record, rule, sampler and status.json,
               by a loop in the place of Ray and its workers
stock          Tuner and Ray's ASHAScheduler, reuse_actors, no loggers
stock-loggers  the same with the CSV, JSON and TensorBoard loggers that Ray adds by itself

Each mode is a process of its own. Trials take a fraction of a CPU each, so that many run at once; reports
come as fast as Ray can take them. Figures are the driver process's own: `results/s` from the first result
to the last; CPU of all its threads over the same time; `growth` is its resident memory at the last result
less that at the first, a trial; `first`, `last`: CPU a result in the first and the last fifth, which are
equal where the cost of a result does not grow with the number of trials; `snapshot`: writing down what is
known at the end (status.json; Ray's experiment state), which a driver does now and then.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import logging
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MODES = ("ours", "ours-no-ray", "stock", "stock-loggers")
ETA = 3
METRICS = ("train_loss", "lr", "grad_norm", "epoch_s", "peak_memory_mb")  # of each epoch, beside the loss


class Size(NamedTuple):
    """How large a sweep is; ASHA decides at `grace` epochs first."""

    trials: int
    concurrent: int
    epochs: int
    grace: int


def train(run: Any, data: Any, *, device: Any, seed: int) -> Iterator[Any]:
    """The trainable: nothing, and a loss."""
    from trainables.training import Epoch

    for number in range(1, run.epochs + 1):
        loss = run.optimizer_config["lr"] + 1 / number
        yield Epoch(number, loss, loss, {}, 0.1)


class Meter:
    """Notes time, CPU and memory at every result of a driver."""

    def __init__(self) -> None:
        self.at: list[tuple[float, float]] = []
        self.rss: list[float] = []

    def note(self) -> None:
        """A result has come."""
        self.at.append((time.monotonic(), time.process_time()))
        if len(self.at) % 100 == 1:
            self.rss.append(resident_mb())

    def figures(self, trials: int) -> dict[str, float]:
        """What it all came to."""
        results, fifth = len(self.at), len(self.at) // 5
        wall, cpu = (self.at[-1][i] - self.at[0][i] for i in (0, 1))
        first, last = (
            (self.at[end - 1][1] - self.at[begin][1]) / (end - 1 - begin)
            for begin, end in ((0, fifth), (results - fifth, results))
        )
        return {
            "results": results,
            "results_per_s": results / wall,
            "cpu_ms_per_result": 1e3 * cpu / results,
            "cpu_ms_per_trial": 1e3 * cpu / trials,
            "first_ms": 1e3 * first,
            "last_ms": 1e3 * last,
            "growth_kb_per_trial": 1024 * (self.rss[-1] - self.rss[0]) / trials,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def resident_mb() -> float:
    """Resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--concurrent", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--grace", type=int, default=1, help="epochs before ASHA's first decision")
    parser.add_argument("--only", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--profile", action="store_true", help="print where the driver's time went")
    parser.add_argument("--json", type=Path, help="write every mode's figures here")
    parser.add_argument("--child", choices=MODES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, Size(args.trials, args.concurrent, args.epochs, args.grace), args.profile)
        return
    rows = [{"mode": mode, **measure(mode, args)} for mode in args.only]
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))


def measure(mode: str, args: argparse.Namespace) -> dict[str, Any]:
    """One mode in a process and a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).resolve()), "--child", mode]
        for name in Size._fields:
            command += [f"--{name}", str(getattr(args, name))]
        command += ["--profile"] if args.profile else []
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise SystemExit(f"{mode} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    *words, last = done.stdout.strip().splitlines()
    if args.profile:
        print("\n".join(words))
    figures: dict[str, Any] = json.loads(last)
    print(json.dumps({"mode": mode, **figures}), flush=True)
    return figures


def child(mode: str, size: Size, profiled: bool) -> None:
    """One mode in this process; its figures are the last line printed."""
    meter, profile = Meter(), cProfile.Profile()
    if profiled:
        profile.enable()
    if mode == "ours":
        snapshot_s = ours(meter, size)
    elif mode == "ours-no-ray":
        snapshot_s = ours_without_ray(meter, size)
    else:
        snapshot_s = stock(meter, size, loggers=mode == "stock-loggers")
    if profiled:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
        pstats.Stats(profile).sort_stats("cumtime").print_stats("raysweep|schedulers|trainables", 40)
    print(json.dumps(meter.figures(size.trials) | {"snapshot_ms": 1e3 * snapshot_s}))


def ours(meter: Meter, size: Size) -> float:
    """`run_tuner`, with all that `launch.py run` gives it but a terminal; seconds of one snapshot."""
    from raysweep.cluster.embedded import embedded_ray
    from raysweep.runner.run_study import tracker_of
    from raysweep.study.execution.run_plan import RunPlan
    from raysweep.study.execution.shutdown import StopSignal
    from raysweep.study.execution.tuner import run_tuner
    from raysweep.study.journal.events import EpochReported, Event
    from raysweep.study.journal.status_file import StatusFile

    sweep, folder = study(size)
    tracker = tracker_of(sweep, folder)
    tracker.start()

    def count(event: Event) -> None:
        if isinstance(event, EpochReported):
            meter.note()

    with embedded_ray() as machine:
        share = machine.cpus / size.concurrent
        plan = RunPlan(sweep, folder, size.concurrent, {"cpu": share})
        finish = run_tuner(plan, stop=StopSignal(), subscribers=[count])
    assert finish.exit_code == 0, finish.reason
    print(f"MLflow lacks {tracker.close(600)} events")
    begun = time.perf_counter()
    StatusFile(folder, finish.record, sweep.metric, sweep.sign).write("done")
    return time.perf_counter() - begun


def ours_without_ray(meter: Meter, size: Size) -> float:
    """Every trial run to its end by a loop, one after the other; seconds of one snapshot."""
    from raysweep.config.trial_config import trial_config
    from raysweep.study.execution.controller import StudyController
    from raysweep.study.execution.run_plan import RunPlan
    from raysweep.study.execution.scheduler_factory import make_scheduler
    from raysweep.study.execution.searcher_factory import make_searcher
    from raysweep.study.execution.shutdown import StopSignal
    from raysweep.study.execution.trial_events import TrialEventEmitter
    from raysweep.study.journal.event_bus import EventBus
    from raysweep.study.journal.log import Journal
    from raysweep.study.journal.records import StudyRecord
    from raysweep.study.journal.status_file import StatusFile
    from schedulers.rule import Report, Stop

    sweep, folder = study(size)
    record, rule, stop = StudyRecord(sweep.objective), make_scheduler(sweep).rule, StopSignal()
    searcher = make_searcher(sweep, None, 1)
    status = StatusFile(folder, record, sweep.metric, sweep.sign)
    stream = EventBus(
        Journal(folder.journal_dir, "scale"), record, searcher, [status], time.time, stop.request
    )
    controller = StudyController(RunPlan(sweep, folder, 1, {"cpu": 1}), stream, rule, searcher, stop)
    emitter = TrialEventEmitter(controller)
    controller.begin()
    while (asked := controller.ask()) is not None:
        name, config = asked
        trial_config(sweep, config, name)
        for epoch in range(1, size.epochs + 1):
            loss = config["optimizer_config.lr"] + 1 / epoch
            result = {**dict.fromkeys(METRICS, loss), "epoch": epoch, "val_loss": loss, "pid": 1}
            decision = rule.report(Report(name, epoch, loss, config))
            emitter.reported(name, result, decision)
            meter.note()
            controller.check_limits()
            if isinstance(decision, Stop):
                emitter.ended(name, decision.ending, decision.reason)
                break
    controller.close()
    begun = time.perf_counter()
    status.write("done")
    return time.perf_counter() - begun


def study(size: Size) -> tuple[Any, Any]:
    """The sweep, and an empty folder for it."""
    from raysweep.config import read_sweep
    from raysweep.study.storage.layout import StudyFolder

    Path("scale.yaml").write_text(
        f"""
study_name: scale
trials: {size.trials}
sampler: {{name: optuna.samplers.RandomSampler}}
trial_scheduler: {{name: schedulers.ASHA, kwargs: {{grace_period: {size.grace}, reduction_factor: {ETA}}}}}
baseline: false
run:
  data: trainables.data.load_diabetes
  train: benchmarks.scale.train
  epochs: {size.epochs}
  optimizer_config: {{lr: 0.1}}
search_space:
  optimizer_config: {{lr: {{type: float, min: 0.001, max: 1.0}}}}
"""
    )
    sweep = read_sweep(Path("scale.yaml")).sweep
    return sweep, StudyFolder.create(Path("runs"), "scale", sweep, Path("scale.yaml").read_text())


def stock(meter: Meter, size: Size, *, loggers: bool) -> float:
    """A plain Tuner over the same trainable; seconds of one snapshot."""
    if not loggers:
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_MAX_PENDING_TRIALS_PG": str(size.concurrent)}
    import ray
    from ray import tune
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.schedulers import ASHAScheduler

    from raysweep.config import read_sweep
    from trainables.tune import TorchTrainable

    class Count(tune.Callback):
        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            meter.note()

    snapshots: list[float] = []
    save = TuneController.checkpoint

    def timed(self: Any, *args: Any, **words: Any) -> None:
        begun = time.perf_counter()
        save(self, *args, **words)
        snapshots.append(time.perf_counter() - begun)

    TuneController.checkpoint = timed
    Path("run.yaml").write_text(
        f"""
study_name: scale
run:
  data: trainables.data.load_diabetes
  train: benchmarks.scale.train
  epochs: {size.epochs}
  optimizer_config: {{lr: 0.1}}
"""
    )
    config = read_sweep(Path("run.yaml")).sweep.run.model_dump(mode="json")
    config["optimizer_config"]["lr"] = tune.uniform(0.001, 1.0)
    config["import_paths"] = [str(ROOT)]
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    share = ray.cluster_resources()["CPU"] / size.concurrent
    tune.Tuner(
        tune.with_resources(TorchTrainable, {"cpu": share}),
        param_space=config,
        tune_config=tune.TuneConfig(
            metric="val_loss",
            mode="min",
            num_samples=size.trials,
            scheduler=ASHAScheduler(
                time_attr="epoch", grace_period=size.grace, reduction_factor=ETA, max_t=size.epochs
            ),
            max_concurrent_trials=size.concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(Path.cwd() / "ray"),
            callbacks=[Count()],
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    ray.shutdown()
    return max(snapshots)


def table(rows: list[dict[str, Any]]) -> str:
    """One line a mode."""
    names = ("results", "results/s", "CPU ms/result", "CPU ms/trial", "first", "last", "growth KB/trial")
    keys = ("results", "results_per_s", "cpu_ms_per_result", "cpu_ms_per_trial", "first_ms", "last_ms")
    lines = [f"\n| | {' | '.join(names)} | peak MB | snapshot ms |", "|---|" + "---|" * (len(names) + 2)]
    for row in rows:
        figures = [row[key] for key in (*keys, "growth_kb_per_trial", "peak_mb", "snapshot_ms")]
        lines.append(f"| {row['mode']} | {' | '.join(f'{figure:.4g}' for figure in figures)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
