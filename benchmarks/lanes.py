"""Trial-epochs per second of fused lanes, against the same learners one after the other in one process.

MLPs of 64 nodes and 3 to 6 hidden layers (the template's space), each with a learning rate of its own;
`--mixed` draws activation and dropout too, as sweeps/asha.yaml does. Both sides train and validate, one epoch
in turn, in one process on one thread; a ratio is that of one such pair, and its median and range are told. On
the CPU times are the thread's CPU seconds, which suffer less than wall time from what else the machine does,
and at the end the states of both sides are compared bit by bit. On a GPU times are wall seconds. Building a
group and its first epoch, in which the layouts of products are tried, are `first`, and in no ratio. `joined`:
an epoch before which a new trial took the place of one of its layout, as a ratio of an epoch without.

    PYTHONPATH=. python benchmarks/lanes.py --rounds 5 --json lanes.json
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from trainables.data import Data, load
from trainables.fused import FusedGroup, Lane
from trainables.learner import Learner
from trainables.rng_state import RngState
from trainables.run_config import RunConfig

TASKS: dict[str, dict[str, Any]] = {
    "synthetic": {
        "data": "trainables.data.load_synthetic",
        "criterion": "torch.nn.MSELoss",
        "batch_size": 256,
    },
    "digits": {
        "data": "trainables.data.load_digits",
        "criterion": "torch.nn.CrossEntropyLoss",
        "batch_size": 64,
    },
}
RATES = {"pytorch_optimizer.SPlus": (1e-3, 1e-1), "torch.optim.AdamW": (1e-4, 1e-2)}
ACTIVATIONS = ("relu", "gelu", "silu", "tanh")


def runs_of(task: str, optimizer: str, lanes: int, *, mixed: bool) -> list[RunConfig]:
    """A run config for each lane, always the same ones."""
    rng = random.Random(0)
    low, high = RATES[optimizer]
    runs = []
    for _ in range(lanes):
        net: dict[str, Any] = {"nodes": 64, "layers": rng.randint(3, 6)}
        if mixed:
            net |= {"activation": rng.choice(ACTIVATIONS), "dropout": rng.uniform(0.0, 0.5)}
        runs.append(
            RunConfig(
                **TASKS[task],
                net_config=net,
                optimizer=optimizer,
                optimizer_config={"lr": low * (high / low) ** rng.random()},
                scheduler=None,
                epochs=1000,
            )
        )
    return runs


def lanes_of(runs: Sequence[RunConfig], data: Data, device: torch.device) -> list[Lane]:
    """Fresh trials."""
    lanes = []
    for seed, run in enumerate(runs):
        own = RngState(seed, device)
        with own.own():
            lanes.append(Lane(Learner(run, data, data.parts[0], device, seed), own))
    return lanes


def train_alone(lanes: Sequence[Lane]) -> None:
    for lane in lanes:
        with lane.random.own():
            lane.learner.epoch()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """What a piece of work takes: CPU seconds of this thread, or wall seconds on a GPU."""
    if device.type != "cuda":
        begin = time.thread_time()
        work()
        return time.thread_time() - begin
    torch.cuda.synchronize(device)
    begin = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def same_parameters(some: Sequence[Lane], others: Sequence[Lane]) -> bool:
    return all(
        torch.equal(one, other)
        for lane, single in zip(some, others, strict=True)
        for one, other in zip(lane.learner.net.parameters(), single.learner.net.parameters(), strict=True)
    )


def measure(task: str, optimizer: str, lanes: int, args: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    device = torch.device(args.device)
    runs = runs_of(task, optimizer, lanes, mixed=args.mixed)
    data = load(runs[0])
    alone, fused = (lanes_of(runs, data, device) for _ in range(2))
    train_alone(alone)  # also the first epoch of libraries
    group = FusedGroup()

    def first_epoch() -> None:
        for lane in fused:
            group.join(lane)
        group.train_epoch()

    first = seconds(first_epoch, device)
    pairs = [
        (seconds(lambda: train_alone(alone), device), seconds(group.train_epoch, device))
        for _ in range(args.rounds)
    ]
    ratios = [single / together for single, together in pairs]
    bits = "equal" if same_parameters(fused, alone) else "differ"
    together = median(together for _, together in pairs)

    def replace(lane: Lane) -> None:
        group.leave(group.lanes[0])
        group.join(lane)
        group.train_epoch()

    newcomers = lanes_of(runs[: args.rounds], data, device)
    joined = median(seconds(lambda lane=lane: replace(lane), device) for lane in newcomers)  # type: ignore[misc]
    return {
        "task": task,
        "optimizer": optimizer.rpartition(".")[2],
        "lanes": lanes,
        "alone_per_s": lanes / median(single for single, _ in pairs),
        "fused_per_s": lanes / together,
        "ratio": median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "first_s": first,
        "joined": joined / together,
        "bits": bits,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--mixed", action="store_true", help="draw activation and dropout too")
    parser.add_argument("--device", default="cpu", help="cuda has not been run yet")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print("| task | optimizer | lanes | alone, /s | fused, /s | ratio | range | first, s | joined | bits |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for task in args.tasks:
        for optimizer in RATES:
            for lanes in args.lanes:
                row = measure(task, optimizer, lanes, args)
                rows.append(row)
                spread = f"{row['least']:.2f} to {row['most']:.2f}"
                rates = f"{row['alone_per_s']:.1f} | {row['fused_per_s']:.1f}"
                what = f"{task} | {row['optimizer']} | {lanes}"
                end = f"{row['first_s']:.2f} | {row['joined']:.2f} | {row['bits']}"
                print(f"| {what} | {rates} | {row['ratio']:.2f} | {spread} | {end} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
