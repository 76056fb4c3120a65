"""Recorded tables: MLPs trained once over a whole space, so that searches can be replayed in milliseconds.

    python benchmarks/tables.py                                 (about 15 minutes of one core)
    python benchmarks/tables.py --data DIR --only kin40k        (with DIR/kin40k.csv.gz)

For each task the same 512 configurations (a scrambled Sobol sequence over `SPACE`, seed 0) are trained
for 27 epochs: AdamW, cosine schedule, validation loss after each epoch. They are kept as
`raysweep/planning/recorded_curves.npz`, which `launch.py plan` replays as well: ln(loss) as float16,
(configurations, epochs); NaN from where a training diverged.

A search asks for points between the recorded ones. `Surrogate` answers: a Gaussian process over the
table (its mean; one length-scale per parameter, fitted to the last epoch) gives the smooth part, and
the nearest recorded configuration what is left over, as a whole curve. So a recorded configuration has
its own recorded curve, neighbours differ as much as two trainings of nearly the same settings do, and
the deepest point of the landscape is one that a search can find. `kind="nearest"` answers with the
nearest recorded curve as it is. Neither is a training: what is compared on them is search strategies.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - the environment first
from numpy.typing import NDArray  # noqa: E402
from scipy.linalg import cho_factor, cho_solve  # noqa: E402 - comes with scikit-learn
from scipy.optimize import minimize  # noqa: E402
from scipy.stats import qmc  # noqa: E402

from raysweep.planning.curve_prior import RECORDED, recorded_tables  # noqa: E402
from schedulers.space import Domain, Float, Int  # noqa: E402

Array = NDArray[np.float64]

EPOCHS, POINTS = 27, 512

SPACE: dict[str, Domain] = {
    "optimizer_config.lr": Float(1e-4, 1e-1, log=True),
    "optimizer_config.weight_decay": Float(1e-5, 1.0, log=True),
    "net_config.dropout": Float(0.0, 0.5),
    "net_config.layers": Int(1, 4),
    "net_config.nodes": Int(8, 128, log=True),
    "batch_size": Int(32, 256, log=True),
}

CLASSES, NUMBERS = "torch.nn.CrossEntropyLoss", "torch.nn.MSELoss"
PUMPS = {"data_config": {"path": "sweeps/data/pumps.csv.gz", "target": "efficiency"}}
HEAD = {"data_config": {"path": "sweeps/data/pumps.csv.gz", "target": "head_m"}}


def _bundled(name: str, criterion: str) -> dict[str, Any]:
    return {"data": f"trainables.data.load_{name}", "criterion": criterion}


def _table(words: Mapping[str, Any]) -> dict[str, Any]:
    return {"data": "trainables.data.load_table", "criterion": NUMBERS, **words}


TASKS: dict[str, dict[str, Any]] = {
    "digits": _bundled("digits", CLASSES),
    "diabetes": _bundled("diabetes", NUMBERS),
    "cancer": _bundled("breast_cancer", CLASSES),
    "pumps": _table(PUMPS),
    # The same with a quarter of the training rows, and the same table with another column as target:
    # what a study was run on before, when a search is started warm.
    "digits-quarter": {**_bundled("digits", CLASSES), "data_fraction": 0.25},
    "pumps-quarter": _table({**PUMPS, "data_fraction": 0.25}),
    "pumps-head": _table(HEAD),
    # From --data, a folder of CSV files with a column y; a quarter of their 6,000 rows.
    **{
        name: _table({"data_config": {"path": f"{name}.csv.gz", "target": "y"}, "data_fraction": 0.25})
        for name in ("kin40k", "protein", "parkinsons")
    },
}


def points() -> Array:
    """The recorded configurations as points of the unit cube, (POINTS, parameters)."""
    cube: Array = qmc.Sobol(len(SPACE), scramble=True, rng=0).random(POINTS)
    return cube


def config_at(point: Sequence[float]) -> dict[str, Any]:
    """The flat configuration at a point of the unit cube."""
    return {name: domain.from_unit(unit) for (name, domain), unit in zip(SPACE.items(), point, strict=True)}


def point_of(config: Mapping[str, Any]) -> Array:
    """Where a flat configuration lies in the unit cube."""
    return np.array([domain.to_unit(config[name]) for name, domain in SPACE.items()])


class Surrogate:
    """A table's answer for any configuration of `SPACE`: see the module's docstring.

    Args:
        curves: ln(loss), (POINTS, epochs); NaN where diverged.
        kind: "smooth" or "nearest".
    """

    def __init__(self, curves: Array, kind: str = "smooth") -> None:
        # A learnt integer has few values: the point that was trained is the configuration's own.
        self.known = np.array([point_of(config_at(point)) for point in points()])
        self.curves = curves
        self.sound = np.isfinite(curves).all(axis=1)
        self.kind = kind
        if kind == "smooth":
            self._fit()

    def curve(self, config: Mapping[str, Any]) -> list[float]:
        """Losses after each epoch; NaN from where the nearest recorded training diverged."""
        point = point_of(config)
        nearest = int(np.argmin(((self.known - point) ** 2).sum(axis=1)))
        if self.kind == "nearest" or not self.sound[nearest]:
            return [float(loss) for loss in np.exp(self.curves[nearest])]
        smooth = self.mean + self._kernel(point[None], self.centres)[0] @ self.weights
        return [float(loss) for loss in np.exp(smooth + self.rest[nearest])]

    def _fit(self) -> None:
        self.centres, curves = self.known[self.sound], self.curves[self.sound]
        self.mean = curves.mean(axis=0)
        last = curves[:, -1] - self.mean[-1]
        start = np.array([0.0] * len(SPACE) + [math.log(last.std() + 1e-6), math.log(0.1)])
        found = minimize(self._evidence, start, args=(last,), method="L-BFGS-B", options={"maxiter": 40})
        self.log_scales, self.noise = found.x[: len(SPACE)], math.exp(2 * found.x[-1])
        gram = self._kernel(self.centres, self.centres)
        self.weights = cho_solve(cho_factor(gram + self.noise * np.eye(len(gram))), curves - self.mean)
        self.rest = np.full_like(self.curves, np.nan)
        self.rest[self.sound] = curves - self.mean - gram @ self.weights

    def _kernel(self, one: Array, other: Array) -> Array:
        """Matern 5/2 over scaled distances, of unit variance."""
        scale = np.exp(-self.log_scales)
        gap = np.sqrt((((one * scale)[:, None] - (other * scale)[None]) ** 2).sum(axis=2) * 5)
        kernel: Array = (1 + gap + gap**2 / 3) * np.exp(-gap)
        return kernel

    def _evidence(self, logs: Array, last: Array) -> float:
        """Negative log marginal likelihood, with weak priors that keep every scale in sight."""
        self.log_scales, amplitude, noise = logs[: len(SPACE)], logs[-2], logs[-1]
        gram = self._kernel(self.centres, self.centres) + math.exp(2 * noise) * np.eye(len(last))
        factor = cho_factor(gram)
        scaled = last / math.exp(amplitude)
        fit = 0.5 * scaled @ cho_solve(factor, scaled) + np.log(np.diag(factor[0])).sum()
        return float(fit + len(last) * amplitude + 0.5 * (self.log_scales**2).sum() + 0.1 * noise**2)


def surrogates(names: Sequence[str] = (), kind: str = "smooth") -> dict[str, Surrogate]:
    """The recorded tasks of these names; of none given, all.

    Raises:
        SystemExit: if one was not recorded.
    """
    tables = recorded_tables()
    missing = [name for name in names if name not in tables]
    if missing:
        raise SystemExit(f"{missing[0]} is not in {RECORDED}; there are {', '.join(tables)}")
    return {name: Surrogate(tables[name], kind) for name in names or tables}


def record(task: str, folders: Sequence[Path]) -> Array:
    """Train all configurations of a task; ln(loss), (POINTS, EPOCHS)."""
    import torch

    from trainables.data import load
    from trainables.run_config import RunConfig, overlay
    from trainables.training import train

    torch.set_num_threads(1)
    words = {
        "net": "trainables.mlp.MLP",
        "optimizer": "torch.optim.AdamW",
        "scheduler": "torch.optim.lr_scheduler.CosineAnnealingLR",
        "scheduler_config": {"T_max": EPOCHS},
        "epochs": EPOCHS,
        **TASKS[task],
    }
    data = load(RunConfig(**words), folders)
    logs = np.full((POINTS, EPOCHS), np.nan)
    for row, point in enumerate(points()):
        for epoch in train(RunConfig(**overlay(words, config_at(point))), data):
            if epoch.finite:
                logs[row, epoch.number - 1] = math.log(epoch.val_loss)
    return logs


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of CSV files")
    parser.add_argument("--only", nargs="+", choices=list(TASKS), help="tasks; others stay as recorded")
    options = parser.parse_args(arguments)
    tables = dict(np.load(RECORDED, allow_pickle=False)) if RECORDED.exists() else {}
    for task in options.only or TASKS:
        began = time.perf_counter()
        try:
            tables[task] = record(task, [ROOT, options.data]).astype(np.float16)
        except (ValueError, OSError) as error:
            print(f"{task}: left out: {error}", file=sys.stderr)
            continue
        np.savez_compressed(RECORDED, **tables)
        print(f"{task}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
