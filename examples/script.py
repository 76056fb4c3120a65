"""A script that knows no framework: `python examples/script.py --lr 0.1`, or a sweep of it: `script.yaml`.

It fits a line to noisy points by gradient descent, prints a line of JSON after each epoch, and goes on from a
checkpoint if it is given one.
"""

import argparse
import json
import os
import random
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--momentum", type=float, default=0.0)
parser.add_argument("--epochs", type=int, default=27)
options = parser.parse_args()

rng = random.Random(0)
points = [(x := rng.uniform(-1, 1), 3 * x + 1 + rng.gauss(0, 0.1)) for _ in range(200)]
state = {"epoch": 0, "weights": [0.0, 0.0], "velocity": [0.0, 0.0]}
if checkpoint := os.environ.get("RAYSWEEP_CHECKPOINT"):
    state = json.loads(Path(checkpoint).read_text())

for epoch in range(state["epoch"] + 1, options.epochs + 1):
    slope, intercept = state["weights"]
    errors = [(slope * x + intercept - y, x) for x, y in points]
    gradient = [sum(e * x for e, x in errors) / len(points), sum(e for e, _ in errors) / len(points)]
    state["velocity"] = [
        options.momentum * v - options.lr * g for v, g in zip(state["velocity"], gradient, strict=True)
    ]
    state["weights"] = [w + v for w, v in zip(state["weights"], state["velocity"], strict=True)]
    state["epoch"] = epoch

    report = {"epoch": epoch, "loss": sum(e * e for e, _ in errors) / len(points)}
    if folder := os.environ.get("RAYSWEEP_CHECKPOINT_DIR"):
        report["checkpoint"] = f"epoch-{epoch}.json"
        (Path(folder) / report["checkpoint"]).write_text(json.dumps(state))
    print(json.dumps(report))
