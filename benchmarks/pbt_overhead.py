"""What PBT costs beyond its training: ours against Ray's own, on short steps, interleaved in one run.

A class trainable whose step sleeps (no CPU, so that two cores can show four slots) and whose whole state
is two numbers: what is timed is the machinery of pauses, checkpoints, copies and barriers.

    python benchmarks/pbt_overhead.py
    python benchmarks/pbt_overhead.py --rounds 5 --settings 4/4 --modes ours-async ray-async

A setting is members/slots; a slot is half a CPU. Modes:

nothing                  schedulers.FIFO: nobody is paused or copied. No PBT can be quicker than this
ours-async, ours-sync    schedulers.PBT, dropped into a plain `tune.Tuner`
ray-async, ray-sync      ray.tune.schedulers.PopulationBasedTraining

`wall` is from the first step to the last result; the first waits until every slot has its process (10 s
at most: Ray's own may put all trials into one), so that starting them is left out. `compute` is what the
steps alone would take: epochs x step x members / slots.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ |= {
    "PYTHONPATH": str(ROOT),
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AUTH_MODE": "disabled",
}

import ray  # noqa: E402 - the environment first
from ray import tune  # noqa: E402
from ray.tune.schedulers import PopulationBasedTraining  # noqa: E402

import schedulers  # noqa: E402
from tests.schedulers.trainables import Slope  # noqa: E402

GATE_S = 10.0
FIGURES = ("wall_s", "processes", "exploits")
MODES = ("nothing", "ours-async", "ours-sync", "ray-async", "ray-sync")


class Gated(Slope):
    """Its first step waits until every slot has its process: what starting them costs is left out."""

    def step(self) -> dict[str, Any]:
        """Wait at the gate, then as ever."""
        gate, slots = Path(self.config["gate"]), self.config["slots"]
        deadline = time.monotonic() + GATE_S
        while gate.exists():
            with contextlib.suppress(OSError):  # another has just opened it
                (gate / str(os.getpid())).touch()
                if len(list(gate.iterdir())) >= slots or time.monotonic() > deadline:
                    gate.rename(gate.with_name("open"))
            time.sleep(0.01)
        result: dict[str, Any] = super().step()
        return result


class Watch(tune.Callback):  # type: ignore[misc]  # ray ships no types
    """Times and processes of the results."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.processes: set[int] = set()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any
    ) -> None:
        """Note when and where."""
        self.times.append(time.perf_counter())
        self.processes.add(result["process"])


def scheduler_of(mode: str, members: int, slots: int, epochs: int, interval: int) -> Any:
    if mode == "nothing":
        return schedulers.FIFO(metric="loss", mode="min", time_attr="epoch", slots=slots, max_resource=epochs)
    synchronous = "sync" in mode.split("-")
    if mode.startswith("ray"):
        return PopulationBasedTraining(
            time_attr="training_iteration",
            metric="loss",
            mode="min",
            perturbation_interval=interval,
            hyperparam_mutations={"optimizer": {"lr": tune.loguniform(0.01, 1.0)}},
            quantile_fraction=0.25,
            synch=synchronous,
        )
    return schedulers.PBT(
        metric="loss",
        mode="min",
        time_attr="epoch",
        slots=slots,
        max_resource=epochs,
        perturbation_interval=interval,
        population_size=members,
        space={"optimizer.lr": schedulers.Float(0.01, 1.0, log=True)},
        synchronous=synchronous,
        seed=1,
    )


class Exploits(schedulers.Listener):
    """Counts copies."""

    count = 0

    def exploited(self, trial_id: str, exploit: Any) -> None:
        """One more."""
        self.count += 1


def measure(mode: str, members: int, slots: int, args: argparse.Namespace) -> dict[str, Any]:
    """One experiment on the Ray that is up."""
    scheduler = scheduler_of(mode, members, slots, args.epochs, args.interval)
    exploits = Exploits()
    if not mode.startswith("ray"):
        scheduler.attach(listener=exploits)
    watch = Watch()
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)
    with tempfile.TemporaryDirectory() as folder:
        gate = Path(folder) / "gate"
        gate.mkdir()
        started = time.perf_counter()
        grid = tune.Tuner(
            tune.with_resources(Gated, {"cpu": 0.5}),
            param_space={
                "optimizer": {"lr": tune.loguniform(0.01, 1.0)},
                "step_s": args.step_s,
                "gate": str(gate),
                "slots": slots,
            },
            tune_config=tune.TuneConfig(scheduler=scheduler, num_samples=members, reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                stop={"training_iteration": args.epochs},
                callbacks=[watch],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
        whole = time.perf_counter() - started
    wall = watch.times[-1] - watch.times[0] + args.step_s
    compute = args.epochs * args.step_s * -(-members // slots)
    return {
        "wall_s": round(wall, 2),
        "whole_s": round(whole, 2),
        "compute_s": round(compute, 2),
        "steps": len(watch.times),
        "processes": len(watch.processes),
        "exploits": getattr(scheduler, "_num_perturbations", exploits.count),
        "errors": grid.num_errors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--settings", nargs="+", default=["2/2", "4/2", "4/4"], help="members/slots")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--interval", type=int, default=4)
    parser.add_argument("--step-s", type=float, default=0.05)
    parser.add_argument("--json", type=Path, help="write every run's figures here")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    runs = itertools.product(args.settings, range(args.rounds), args.modes)
    for setting, round_, mode in runs:
        members, slots = map(int, setting.split("/"))
        cpus = (slots + 1) // 2
        # A Ray of its own: after a synchronous run of Ray's PBT the next one had a slot less.
        ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        figures = measure(mode, members, slots, args)
        ray.shutdown()
        rows.append({"setting": setting, "round": round_, "mode": mode, **figures})
        print(json.dumps(rows[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Medians per setting and mode; `x nothing` is the ratio of walls within a round."""
    lines = [
        "",
        "| members/slots | mode | wall s | x compute | x nothing | processes | copies |",
        "|---|---|---|---|---|---|---|",
    ]
    floor = {(r["setting"], r["round"]): r["wall_s"] for r in rows if r["mode"] == "nothing"}
    for setting, mode in dict.fromkeys((row["setting"], row["mode"]) for row in rows):
        mine = [row for row in rows if (row["setting"], row["mode"]) == (setting, mode)]
        wall, processes, exploits = (median(r[key] for r in mine) for key in FIGURES)
        compute = median(row["wall_s"] / row["compute_s"] for row in mine)
        ratios = [r["wall_s"] / floor[setting, r["round"]] for r in mine if (setting, r["round"]) in floor]
        nothing = f"{median(ratios):.2f}" if ratios else ""
        lines.append(
            f"| {setting} | {mode} | {wall:.2f} | {compute:.2f} | {nothing} |"
            f" {processes:.0f} | {exploits:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
