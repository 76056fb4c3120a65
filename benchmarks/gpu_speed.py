"""Sections of `gpu_acceptance.py` on speed: precision, lanes, streaming, costs, trials beside each other."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import lanes
import numpy as np
import torch
from gpu_sections import (
    HERE,
    LOSS_TOLERANCE,
    OPTIMIZERS,
    PRECISION_TOLERANCE,
    UPDATE_TOLERANCE,
    Bench,
    Row,
    held,
    run_of,
)

from trainables.batches import BatchLoader
from trainables.data import DataPart, Split, load
from trainables.fused import FusedGroup, Lane
from trainables.fused.captured_passes import RECORDERS
from trainables.training import Training, train

TOGETHER_S = 5.0  # of training, for each number of processes


def step_ms(training: Training, bench: Bench, seconds: float) -> float:
    """Milliseconds of a step, the epoch's validation included, after two epochs of warming up."""
    next(training), next(training)
    bench.sync()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        next(training)
        bench.sync()
        steps += len(training.learners[0].feed)
    return 1e3 * (time.perf_counter() - began) / steps


def precision(bench: Bench) -> Iterator[Row]:
    """Each precision trains to nearly the loss of fp32; what a step of a wide net costs in it."""
    losses = {}
    for name in ("fp32", "tf32", "bf16", "fp16"):
        run = run_of(precision=name)
        losses[name] = [*train(run, load(run), device=bench.device)][-1].val_loss
        off = abs(losses[name] - losses["fp32"]) / losses["fp32"]
        yield held(f"{name}: loss, off fp32 by", f"{losses[name]:.4g}, {off:.2g}", off <= PRECISION_TOLERANCE)
    wide, rows = bench.size(4096, 128), bench.size(60000, 2000)
    for name in losses:
        run = run_of(
            precision=name,
            batch_size=bench.size(4096, 256),
            epochs=10**6,
            data_config={"rows": rows},
            net_config={"nodes": wide, "layers": 4},
        )
        spent = step_ms(Training(run, load(run), device=bench.device), bench, bench.size(2, 1) / 2)
        yield Row(f"{name}: {wide} nodes wide, ms a step", round(spent, 3))


def steps_alone(lane: Lane) -> Iterator[torch.Tensor]:
    """The losses of an epoch's steps, as a trial takes them alone."""
    lane.learner.net.train()
    for step, (x, y) in enumerate(lane.learner.feed.batches()):
        with lane.random.own():
            (loss,), _, _ = lane.learner.take_step([(x, y)], step)
        yield loss


def parameters(lane: Lane) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in lane.learner.net.parameters()])


def lanes_equal(bench: Bench) -> Iterator[Row]:
    """Lanes trained together against each alone, from equal states, step by step; on the CPU all bits."""
    for task in lanes.TASKS:
        for optimizer in lanes.RATES:
            runs = lanes.runs_of(task, optimizer, 4, mixed=True)
            data = load(runs[0])
            alone, fused = (lanes.lanes_of(runs, data, bench.device) for _ in range(2))
            start = [parameters(lane).clone() for lane in alone]
            singles = [steps_alone(lane) for lane in alone]
            group, off, update = FusedGroup(fused), [], 0.0
            with warnings.catch_warnings(record=True, action="always") as refusals:
                for step, _ in enumerate(group.train_steps()):
                    for lane, single, own in zip(fused, singles, alone, strict=True):
                        one, other = float(next(single)), float(group.progress(lane).losses[step])
                        off.append(abs(one - other) / abs(one))
                        if step == 0:
                            moved = (parameters(own) - start[alone.index(own)]).norm()
                            update = max(update, float((parameters(own) - parameters(lane)).norm() / moved))
            name = f"{task}, {optimizer.rpartition('.')[2]}"
            loss, rounding = (LOSS_TOLERANCE, UPDATE_TOLERANCE) if bench.gpu else (0.0, 0.0)
            first = max(off[: 4 * 10])
            yield held(f"{name}: loss of ten steps, off by", f"{first:.2g}", first <= loss)
            yield held(f"{name}: first update, off by", f"{update:.2g}", update <= rounding)
            yield Row(f"{name}: loss of an epoch's steps, off by at most", f"{max(off):.2g}")
            if bench.gpu:
                why = [str(each.message) for each in refusals if "CUDA graphs" in str(each.message)]
                yield held(f"{name}: passes captured as a CUDA graph", why[0] if why else "yes", not why)


def lanes_speed(bench: Bench) -> Iterator[Row]:
    """Trial-epochs per second of so many lanes, together and one after the other (benchmarks/lanes.py)."""
    args = argparse.Namespace(device=str(bench.device), mixed=False, rounds=bench.size(3, 1))
    for task in list(lanes.TASKS)[: bench.size(2, 1)]:
        for optimizer in lanes.RATES:
            for count in (1, 4, 16, 64)[: bench.size(4, 2)]:
                row = lanes.measure(task, optimizer, count, args)
                rates = f"{row['alone_per_s']:.1f}, {row['fused_per_s']:.1f}, {row['ratio']:.2f}"
                yield Row(f"{task}, {row['optimizer']}, {count} lanes: alone, fused, ratio", rates)
                if bench.gpu and count >= 16:
                    with without_graphs():
                        row = lanes.measure(task, optimizer, count, args)
                    name = f"{task}, {row['optimizer']}, {count} lanes: fused, without CUDA graphs"
                    yield Row(name, round(row["fused_per_s"], 1))


@contextmanager
def without_graphs() -> Iterator[None]:
    """Steps of fused lanes are not captured."""
    recorders = dict(RECORDERS)
    RECORDERS.clear()
    try:
        yield
    finally:
        RECORDERS.update(recorders)


def streaming(bench: Bench) -> Iterator[Row]:
    """Rows that do not fit on the device are streamed: the same batches, at what cost."""
    rows, columns = bench.size(400_000, 20_000), bench.size(1024, 64)
    x = np.random.default_rng(0).standard_normal((rows, columns), dtype=np.float32)
    y = np.arange(rows, dtype=np.float32)[:, None]
    part, spent, sums = DataPart(Split(x, y), Split(x[:9], y[:9])), {}, {}
    for how, budget in (("resident", 1 << 50), ("streamed", 0)):
        feed = BatchLoader(part, bench.device, 1024, 0, budget)
        sums[how] = [float(ys.double().sum() + xs[:, 0].double().sum()) for xs, ys in feed.batches()]
        bench.sync()
        began = time.perf_counter()
        count = sum(1 for _ in feed.batches())
        bench.sync()
        spent[how] = 1e3 * (time.perf_counter() - began) / count
        yield Row(f"{how}, ms for a batch of 1024 x {columns}", round(spent[how], 3))
    yield held("the same batches", len(sums["streamed"]), sums["resident"] == sums["streamed"])
    yield Row("streamed over resident", round(spent["streamed"] / spent["resident"], 2))


def costs(bench: Bench) -> Iterator[Row]:
    """What a net costs, against what it is by hand; the epoch that a plan goes by, against the later ones."""
    nodes = bench.size(2048, 128)
    run = run_of(
        costs=["parameters", "flops", "latency_ms"], epochs=8, net_config={"nodes": nodes, "layers": 3}
    )
    training = Training(run, load(run), device=bench.device)
    learner = training.learners[0]
    found = learner.costs()
    linear = [each for each in learner.net.modules() if isinstance(each, torch.nn.Linear)]
    products = 2 * sum(each.weight.numel() for each in linear)
    count = sum(each.numel() for each in learner.net.parameters())
    yield held("parameters, by hand", f"{found['parameters']:.0f}, {count}", found["parameters"] == count)
    yield held("flops, by hand", f"{found['flops']:.0f}, {products}", found["flops"] == products)
    x = learner.feed.first_input()
    learner.net.eval()
    with torch.no_grad():
        bench.sync()
        began = time.perf_counter()
        for _ in range(200):
            learner.net(x)
            bench.sync()
        latency = 5 * (time.perf_counter() - began)
    ratio = found["latency_ms"] / latency
    timed = f"{found['latency_ms']:.3f}, {latency:.3f}"
    yield like(bench, "latency, ms, and over 200 answers", timed, ratio)
    seconds = [epoch.seconds for epoch in training]
    after = seconds[1] / median(seconds[2:])
    yield like(bench, "second epoch over the later ones", f"{after:.2f}", after)


def like(bench: Bench, what: str, found: str, ratio: float) -> Row:
    """Two times of one thing: on a card of one's own they are alike, on a shared core they are a figure."""
    return held(what, found, 0.5 < ratio < 2) if bench.gpu else Row(what, found)


def steps(bench: Bench) -> Iterator[Row]:
    """Milliseconds of a step of the default net, on the device and on one core."""
    for name in OPTIMIZERS:
        for device in dict.fromkeys((bench.device, torch.device("cpu"))):
            run = run_of(name, epochs=10**6)
            training = Training(run, load(run), device=device)
            spent = step_ms(training, Bench(device), bench.size(3, 1) / 2)
            yield Row(f"{name} on {device.type}, ms a step", round(spent, 3))


PROCESS = """
import sys, time
sys.path.insert(0, {here!r})
from gpu_sections import *
torch.set_num_threads(1)
share, go = {share}, {go}
device = devices.device_for(share)
run = run_of({optimizer!r}, epochs=10**6)
training = Training(run, load(run), device=device)
next(training), next(training)
late = time.time() > go
while time.time() < go:
    time.sleep(0.01)
steps, began = 0, time.time()
while time.time() < began + {seconds}:
    next(training)
    steps += len(training.learners[0].feed)
print("late" if late else steps / (time.time() - began))
"""


def together(bench: Bench) -> Iterator[Row]:
    """Steps per second of so many trials on one card, a process each with its share of it."""
    if not bench.gpu:
        yield Row("processes that share a card", "", "not here")
        return
    for optimizer, counts in (("AdamW", (1, 2, 4, 8)), ("SPlus", (1, 4))):
        for count in counts:
            go = time.time() + 12 + 0.8 * count
            code = PROCESS.format(
                here=str(HERE), share=1 / count, go=go, optimizer=optimizer, seconds=TOGETHER_S
            )
            command = [sys.executable, "-c", code]
            begun = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
            said = [(each.communicate(timeout=120)[0].split() or ["nothing"])[-1] for each in begun]
            whole = all(word not in ("late", "nothing") for word in said)
            found: Any = round(sum(map(float, said))) if whole else said
            yield held(f"{optimizer}, {count} at once: steps/s of all", found, whole)


def project_tests(bench: Bench) -> Iterator[Row]:
    """The project's own tests that need a card; those that also need Ray where that is installed."""
    if not bench.gpu:
        yield Row("pytest -m gpu", "", "not here")
        return
    import importlib.util

    if importlib.util.find_spec("pytest") is None:
        yield Row("pytest -m gpu", "pytest is not installed", "not here")
        return
    marks = "gpu" if importlib.util.find_spec("ray") else "gpu and not ray"
    command = [sys.executable, "-m", "pytest", "-q", "-m", marks, "tests/trainables/test_gpu.py"]
    if importlib.util.find_spec("xdist"):
        command += ["-n", "0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, timeout=200)
    yield held(
        f"pytest -m '{marks}'", (done.stdout.strip().splitlines() or [done.stderr])[-1], done.returncode == 0
    )
