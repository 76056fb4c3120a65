"""What PBT is worth: the paper's toy, and two real tasks at equal epochs. No Ray: the pure rule drives.

    python benchmarks/pbt.py                     (toy and tasks, about 8 minutes of one core)
    python benchmarks/pbt.py --only toy
    python benchmarks/pbt.py --seeds 4 --tasks digits --json pbt.json

Toy: figure 2 of arXiv:1711.09846. Q(theta) = 1.2 - theta0^2 - theta1^2 is to be maximised, but each of two
members can only follow the gradient of 1.2 - h0 theta0^2 - h1 theta1^2, one with h = (1, 0), the other with
(0, 1), from theta = (0.9, 0.9). Without copying, each moves one coordinate, and Q ends at 0.39. At every
milestone the worse member does

pbt           all of it: copies the other's theta and h, and explores h
exploit only  copies theta, keeps its own h
explore only  keeps theta, explores its own h
grid          nothing

Tasks: sweeps/pbt.yaml as it is (digits, cross-entropy), and with the diabetes data (MSE); 8 members of 30
epochs, 240 in all, constant settings between two milestones, one seed of weights and data order per repeat.

pbt           synchronous, as the sweep file says
pbt-async     `synchronous: false`, members up to a quarter slower or quicker than each other
never         the same 8 starting points, nobody copies
random        8 points of their own: random search at equal epochs
cosine        the 8 starting points of `pbt`, each under torch's CosineAnnealingLR: a schedule for nothing

Scored is the loss on the test rows of the member with the lowest last validation loss: validation itself
is what all of them select by. Differences are paired by seed: the mean of ln(loss of PBT / loss of the
rival) with its 95% t interval, printed as a percentage. The split of the data is one for all repeats.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - the environment first
import torch  # noqa: E402
from scipy import stats  # noqa: E402 - comes with scikit-learn

from raysweep.config import Sweep, read_sweep  # noqa: E402
from schedulers import Exploit, FIFORule, Float, Pause, PBTRule, Report, Resume, Rule, Stop  # noqa: E402
from trainables.data import Data, Split, load, load_test  # noqa: E402
from trainables.run_config import RunConfig, overlay  # noqa: E402
from trainables.training import Training  # noqa: E402

TASKS: Mapping[str, tuple[str, ...]] = {
    "digits": (),
    "diabetes": ("run.data=trainables.data.load_diabetes", "run.criterion=torch.nn.MSELoss"),
}
ARMS = ("pbt", "pbt-async", "never", "random", "cosine")
VARIANTS = ("pbt", "exploit only", "explore only", "grid")


class Member(Protocol):
    """Of a population: something that can be trained by an epoch, saved, and made a copy of another."""

    config: dict[str, Any]
    epoch: int

    def train(self) -> float:
        """One epoch more; its loss."""

    def save(self) -> None:
        """Keep the state at this epoch."""

    def copy(self, donor: Any, exploit: Exploit) -> None:
        """Go on from the donor's state at the milestone."""


def drive(rule: Rule, members: Mapping[str, Member], pace: Mapping[str, float]) -> int:
    """Train a population as the rule says, every member in a slot of its own; how many copies were made."""
    clock = dict.fromkeys(members, 0.0)
    running, paused, copies, now = set(members), set[str](), 0, 0.0
    while True:
        while (resume := rule.resume(sorted(paused))) is not None:
            if resume.exploit is not None:
                members[resume.trial_id].copy(members[resume.exploit.donor], resume.exploit)
                copies += 1
            rule.resumed(resume)
            paused.remove(resume.trial_id)
            running.add(resume.trial_id)
            clock[resume.trial_id] = now
        if not running:
            return copies
        name = min(running, key=lambda name: (clock[name] + pace[name], name))
        member = members[name]
        clock[name] = now = clock[name] + pace[name]
        decision = rule.report(Report(name, member.epoch + 1, member.train(), member.config))
        if isinstance(decision, Stop):
            running.remove(name)
        elif isinstance(decision, Pause):
            running.remove(name)
            paused.add(name)
            if decision.save:
                member.save()
        elif isinstance(decision, Exploit):
            member.copy(members[decision.donor], decision)
            rule.resumed(Resume(name, decision.reason, decision))
            copies += 1
        elif decision.milestone:
            member.save()


# The paper's toy


class Point:
    """theta on the toy's surface, moved by the gradient of a surrogate."""

    rate = 0.02

    def __init__(self, h: tuple[float, float], variant: str, rule: PBTRule, rng: np.random.Generator) -> None:
        self.config = {"h0": h[0], "h1": h[1]}
        self.theta = np.full(2, 0.9)
        self.epoch, self.variant, self.rule, self.rng = 0, variant, rule, rng
        self.saved: dict[int, np.ndarray] = {}

    @property
    def quality(self) -> float:
        """Q, at most 1.2."""
        return 1.2 - float(self.theta @ self.theta)

    def train(self) -> float:
        """One step up the surrogate; the loss is -Q."""
        self.epoch += 1
        self.theta = self.theta * (1 - 2 * self.rate * np.array([self.config["h0"], self.config["h1"]]))
        return -self.quality

    def save(self) -> None:
        """Keep theta."""
        self.saved[self.epoch] = self.theta.copy()

    def copy(self, donor: Point, exploit: Exploit) -> None:
        """As much of it as the variant does."""
        if self.variant in ("pbt", "exploit only"):
            self.theta = donor.saved[exploit.resource].copy()
        if self.variant == "pbt":
            self.config = dict(exploit.config)
        elif self.variant == "explore only":
            self.config = self.rule.explore(self.config, self.rng)


def toy(variant: str, seed: int, steps: int = 200, interval: int = 10) -> float:
    """Q of the better of the two members after all steps."""
    space = {"h0": Float(0.0, 1.0), "h1": Float(0.0, 1.0)}
    rule = PBTRule(
        max_resource=steps,
        perturbation_interval=interval,
        space=space,
        population_size=2,
        quantile_fraction=0.5,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    points = {name: Point(h, variant, rule, rng) for name, h in (("a", (1.0, 0.0)), ("b", (0.0, 1.0)))}
    drive(rule, points, {"a": 1.0, "b": 1.0})
    return max(point.quality for point in points.values())


def toys(seeds: int) -> list[dict[str, Any]]:
    """Mean, worst and best Q of every variant."""
    rows = []
    for variant in VARIANTS:
        ends = [toy(variant, seed) for seed in range(seeds)]
        rows.append({"toy": variant, "mean_q": float(np.mean(ends)), "worst": min(ends), "best": max(ends)})
    return rows


# Real tasks


class Net:
    """A training under one flat configuration; copies go through checkpoints, as in a sweep."""

    def __init__(
        self, name: str, config: dict[str, Any], run: RunConfig, data: Data, seed: int, folder: Path
    ) -> None:
        self.name, self.config, self.run, self.data = name, config, run, data
        self.seed, self.folder = seed, folder
        self.epoch, self.loss = 0, math.inf
        self.training = self._begin()

    def train(self) -> float:
        """One epoch; its validation loss."""
        epoch = next(self.training)
        self.epoch += 1
        self.loss = epoch.val_loss if epoch.finite else math.nan
        return self.loss

    def save(self) -> None:
        """A checkpoint by name and epoch."""
        self.training.save(self.folder / f"{self.name}-{self.epoch}")

    def copy(self, donor: Net, exploit: Exploit) -> None:
        """The donor's weights and moments under the explored configuration."""
        self.config = dict(exploit.config)
        self.training = self._begin()
        self.training.load(self.folder / f"{donor.name}-{exploit.resource}")
        self.epoch = exploit.resource

    def _begin(self) -> Training:
        words = overlay(self.run.model_dump(mode="json"), self.config)
        return Training(RunConfig.model_validate(words), self.data, seed=self.seed)


def compete(arm: str, sweep: Sweep, data: Data, test: Split, seed: int) -> dict[str, Any]:
    """One arm of one repeat: losses of its winner, and what it spent."""
    own = 10_000 if arm == "random" else 0
    rng = np.random.default_rng([seed, own])
    space = dict(sorted(sweep.space.items()))
    points = [{key: domain.sample(rng) for key, domain in space.items()} for _ in range(sweep.trials)]
    names = [f"{n:05d}" for n in range(sweep.trials)]
    rule: Rule = FIFORule(max_resource=sweep.run.epochs)
    pace = dict.fromkeys(names, 1.0)
    run = sweep.run
    if arm.startswith("pbt"):
        settings = {**sweep.trial_scheduler.kwargs, "synchronous": arm == "pbt"}
        rule = PBTRule(
            max_resource=run.epochs, space=space, population_size=sweep.trials, seed=seed, **settings
        )
    if arm == "pbt-async":
        pace = dict(zip(names, rng.uniform(0.8, 1.25, len(names)), strict=True))
    if arm == "cosine":
        schedule = {"scheduler": "torch.optim.lr_scheduler.CosineAnnealingLR"}
        length = {"scheduler_config": {"T_max": run.epochs, "interval": "epoch"}}
        run = RunConfig.model_validate({**run.model_dump(mode="json"), **schedule, **length})
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        nets = {
            name: Net(name, point, run, data, seed, Path(folder))
            for name, point in zip(names, points, strict=True)
        }
        copies = drive(rule, nets, pace)
    sound = [net for net in nets.values() if net.epoch == run.epochs and math.isfinite(net.loss)]
    winner = min(sound, key=lambda net: net.loss)
    return {
        "arm": arm,
        "seed": seed,
        "val": winner.loss,
        "test": winner.training.evaluate(test)["loss"],
        "copies": copies,
        "cpu_s": round(time.process_time() - started, 1),
    }


def tasks(names: Sequence[str], arms: Sequence[str], seeds: int) -> list[dict[str, Any]]:
    """Every arm of every repeat of every task; the arms of a repeat follow each other."""
    torch.set_num_threads(1)
    rows = []
    for name in names:
        sweep = read_sweep(ROOT / "sweeps/pbt.yaml", overrides=TASKS[name]).sweep
        data, test = load(sweep.run), load_test(sweep.run)
        for seed in range(seeds):
            for arm in arms:
                row = {"task": name, **compete(arm, sweep, data, test, seed)}
                print(json.dumps(row), file=sys.stderr, flush=True)
                rows.append(row)
    return rows


def paired(rows: Sequence[Mapping[str, Any]], task: str, arm: str, rival: str, key: str) -> tuple[float, ...]:
    """Mean of ln(arm / rival) over the seeds, and its 95% interval."""
    losses = {(row["arm"], row["seed"]): row[key] for row in rows if row["task"] == task}
    seeds = sorted(seed for name, seed in losses if name == arm)
    logs = np.array([math.log(losses[arm, seed] / losses[rival, seed]) for seed in seeds])
    spread = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    return float(logs.mean()), float(logs.mean() - spread), float(logs.mean() + spread)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The toy; then for every task PBT against each rival."""
    lines = []
    toy_rows = [row for row in rows if "toy" in row]
    if toy_rows:
        lines += ["| toy, two members | mean Q | worst | best |", "|---|---|---|---|"]
        lines += [
            f"| {r['toy']} | {r['mean_q']:.3f} | {r['worst']:.3f} | {r['best']:.3f} |" for r in toy_rows
        ]
        lines.append("")
    real = [row for row in rows if "task" in row]
    if real:
        lines += [
            "| task | PBT | against | test loss | 95% interval | validation loss | 95% interval | |",
            "|---|---|---|---|---|---|---|---|",
        ]
    for task in dict.fromkeys(row["task"] for row in real):
        arms = list(dict.fromkeys(row["arm"] for row in real))
        for arm in (arm for arm in arms if arm.startswith("pbt")):
            lines += [_line(real, task, arm, rival) for rival in arms if not rival.startswith("pbt")]
    return "\n".join(lines)


def _line(rows: Sequence[Mapping[str, Any]], task: str, arm: str, rival: str) -> str:
    cells = []
    for key in ("test", "val"):
        mean, low, high = paired(rows, task, arm, rival, key)
        cells.append(f"{math.expm1(mean):+.1%} | {math.expm1(low):+.1%} to {math.expm1(high):+.1%}")
        if key == "test":
            word = "better" if high < 0 else "worse" if low > 0 else "not distinguishable"
    return f"| {task} | {arm} | {rival} | {cells[0]} | {cells[1]} | {word} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=24, help="repeats of every real task")
    parser.add_argument("--toy-seeds", type=int, default=100)
    parser.add_argument("--only", choices=("toy", "tasks"))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--json", type=Path, help="write every row here")
    args = parser.parse_args()
    rows = [] if args.only == "tasks" else toys(args.toy_seeds)
    if args.only != "toy":
        rows += tasks(args.tasks, args.arms, args.seeds)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
