"""From the command to the first result on a cluster, and where the seconds go: ours against `ray job submit`.

Four hosts on this machine (tests/cluster/hosts.py), a cluster brought up by `ray up clusters/onprem.yaml`,
and a laptop that submits, in turn:

ours          launch.py SWEEP.yaml --no-wait, over a tunnel that is open
ours-tunnel   the same with --cluster FILE: opens its tunnel itself
stock         ray job submit -- python script.py over the open tunnel: Tuner, a torch net, digits, one file
stock-mlflow  the same script with MLflowLoggerCallback to the head's server
before        ours, of another clone (--before FOLDER)

All train the same net on the same data. The hosts share one clock. Needs root and namespaces. `client CPU` is
the processor time of the command that submits, which does not depend on what else the machine does.

    PYTHONPATH=. python benchmarks/latency.py --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

from raysweep.study.journal.events import AttemptStarted, EpochReported, TrialStarted
from raysweep.study.journal.log import read_events
from tests.cluster.hosts import SHARED, Hosts, cluster_up, missing

ROOT = Path(__file__).resolve().parents[1]
MODES = ("ours", "ours-tunnel", "stock", "stock-mlflow", "before")
MARKS = ("command", "submitted", "job runs", "Tune runs", "first process", "first result")
CPU = "client CPU"
PATIENCE_S = 400.0
PORT = 18265
TUNNEL = f"http://127.0.0.1:{PORT}"
TOKEN = {"RAY_AUTH_MODE": "token"}  # for Ray's own command; ours finds the token by itself

SWEEP = """
study_name: latency
trials: 2
sampler: {name: optuna.samplers.RandomSampler}
resources_per_trial: {cpu: 1, gpu: 0}
run:
  net: trainables.mlp.MLP
  net_config: {nodes: 64, layers: 2}
  optimizer: torch.optim.Adam
  criterion: torch.nn.CrossEntropyLoss
  scheduler: null
  data: trainables.data.load_digits
  epochs: 2
search_space:
  optimizer_config: {lr: {type: float, min: 1.e-3, max: 1.e-2, log: true}}
"""

STOCK = """
import sys, time
import torch
from ray import tune
from sklearn.datasets import load_digits

OUT, MLFLOW = sys.argv[1], sys.argv[2:]

def mark(what):
    with open(OUT, "a") as file:
        file.write(f"{what}={time.time()}\\n")

class Marks(tune.Callback):
    def setup(self, **_):
        mark("Tune runs")
    def on_trial_start(self, **_):
        mark("first process")
    def on_trial_result(self, **_):
        mark("first result")

class Digits(tune.Trainable):
    def setup(self, config):
        x, y = load_digits(return_X_y=True)
        self.x, self.y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
        self.net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config["lr"])
    def step(self):
        for x, y in zip(self.x.split(256), self.y.split(256)):
            self.optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(self.net(x), y)
            loss.backward()
            self.optimizer.step()
        return {"loss": loss.item()}

callbacks = [Marks()]
if MLFLOW:
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    callbacks.append(MLflowLoggerCallback(tracking_uri=MLFLOW[0], experiment_name="stock"))
tune.Tuner(
    Digits,
    param_space={"lr": tune.loguniform(1e-3, 1e-2)},
    tune_config=tune.TuneConfig(num_samples=2, metric="loss", mode="min"),
    run_config=tune.RunConfig(stop={"training_iteration": 2}, callbacks=callbacks,
                              storage_path=OUT + ".ray", verbose=0),
).fit()
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="another clone of this repository")
    parser.add_argument("--only", nargs="+", choices=MODES)
    args = parser.parse_args()
    if missing():
        sys.exit(f"no hosts can be made here: {missing()}")
    modes = args.only or [mode for mode in MODES if mode != "before" or args.before]
    rows: dict[str, list[dict[str, float]]] = {mode: [] for mode in modes}
    with (
        tempfile.TemporaryDirectory(prefix="latency-") as scratch,
        Hosts(Path(scratch), Path(sys.prefix), ROOT) as hosts,
        cluster_up(hosts) as cluster,
        tunnel(hosts, cluster),
    ):
        (hosts.shared / "project").mkdir()
        (hosts.shared / "project/sweep.yaml").write_text(SWEEP)
        (hosts.shared / "project/script.py").write_text(STOCK)
        hosts.run("laptop", f"cp {SHARED}/project/* /root/project/")
        for number in range(args.rounds):
            for mode in modes:
                clone = args.before if mode == "before" else ROOT
                marks = measure(hosts, cluster, mode, f"{mode}-{number}", clone.resolve())
                print(json.dumps({"round": number, "mode": mode, **marks}), flush=True)
                rows[mode].append(marks)
    print(table(rows))


@contextmanager
def tunnel(hosts: Hosts, cluster: str) -> Iterator[None]:
    """The tunnel that a user of `ray job submit` opens once."""
    process = hosts.start("laptop", f"exec ray dashboard -p {PORT} {cluster}", hosts.work / "tunnel.log")
    deadline = time.monotonic() + 60
    while hosts.run(
        "laptop", f"curl -sf {TUNNEL}/api/version || python -c '{PROBE}'", check=False
    ).returncode:
        assert time.monotonic() < deadline, (hosts.work / "tunnel.log").read_text()
        time.sleep(0.5)
    yield
    process.terminate()
    process.wait()


PROBE = f'import urllib.request as u; u.urlopen("{TUNNEL}")'


def measure(hosts: Hosts, cluster: str, mode: str, name: str, clone: Path) -> dict[str, float]:
    """One submission; wall-clock second of each of MARKS."""
    place = f"--cluster {cluster}" if mode == "ours-tunnel" else f"--address {TUNNEL}"
    mlflow = " http://127.0.0.1:5000" if mode == "stock-mlflow" else ""
    own = not mode.startswith("stock")
    command = {
        True: f"python {clone}/launch.py sweep.yaml --no-wait --name {name} {place}",
        False: f"ray job submit --no-wait --address {TUNNEL} --submission-id {name} --working-dir . "
        f"-- python script.py {SHARED}/{name}{mlflow}",
    }[own]
    marks, before = {"command": time.time()}, os.times()
    hosts.run("laptop", f"cd /root/project && {command}", TOKEN, timeout=PATIENCE_S)
    marks["submitted"], after = time.time(), os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    read = ours if own else stock
    deadline = time.monotonic() + PATIENCE_S
    while "first result" not in (found := read(hosts, name)):
        assert time.monotonic() < deadline, log_of(hosts, name)
        time.sleep(0.2)
    while "RUNNING" in hosts.run("laptop", f"ray job status --address {TUNNEL} {name}", TOKEN).stdout:
        time.sleep(1.0)  # the next one has the machines for itself
    log = f"/tmp/ray/session_latest/logs/job-driver-{name}.log"
    marks["job runs"] = float(hosts.run("head", f'date -d "$(stat -c %w {log})" +%s.%N').stdout)
    return marks | found | {CPU: used}


def ours(hosts: Hosts, study: str) -> dict[str, float]:
    """What the study's journal says."""
    marks: dict[str, float] = {}
    kinds = {AttemptStarted: "Tune runs", TrialStarted: "first process", EpochReported: "first result"}
    for event in read_events(hosts.shared / "runs" / study / "journal"):
        if type(event) in kinds:
            marks.setdefault(kinds[type(event)], event.t)
    return marks


def stock(hosts: Hosts, name: str) -> dict[str, float]:
    """What the script wrote."""
    file, marks = hosts.shared / name, {}
    for line in file.read_text().splitlines() if file.exists() else ():
        what, _, t = line.partition("=")
        marks.setdefault(what, float(t))
    return marks


def log_of(hosts: Hosts, job: str) -> str:
    return hosts.run("laptop", f"ray job logs --address {TUNNEL} {job}", TOKEN, check=False).stdout


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Median seconds from mark to mark, and in all."""
    lines = ["| | " + " | ".join(f"to {mark}" for mark in MARKS[1:]) + f" | in all | {CPU} |"]
    lines.append("|---" * 8 + "|")
    for mode, runs in rows.items():
        parts = [median(run[b] - run[a] for run in runs) for a, b in pairwise(MARKS)]
        whole = [run[MARKS[-1]] - run[MARKS[0]] for run in runs]
        cells = (*parts, median(whole), median(run[CPU] for run in runs))
        lines.append(f"| {mode} | " + " | ".join(f"{seconds:.1f}" for seconds in cells) + " |")
        if not mode.startswith("stock") and "stock" in rows:
            ratios = [
                mine / (other[MARKS[-1]] - other[MARKS[0]])
                for mine, other in zip(whole, rows["stock"], strict=True)
            ]
            lines.append(f"{mode} / stock, by round: " + " ".join(f"{ratio:.2f}" for ratio in ratios))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
