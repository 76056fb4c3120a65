"""Curves of small nets on the bundled data, by which the report's findings on training are judged.

    python benchmarks/bundled_curves.py             # writes tests/report/bundled_curves.json, minutes
    python benchmarks/bundled_curves.py --truth     # what a longer run, a larger net and regularisation bring

Each case is one net at four learning rates. What is true of it is seen from the same case trained twice as
long, with two layers of 32 nodes, or with dropout 0.3 and a weight decay of 0.3.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from trainables.data import load
from trainables.run_config import RunConfig
from trainables.training import train

TARGET = Path(__file__).parents[1] / "tests" / "report" / "bundled_curves.json"
TRIALS = 4
DATA = {
    "digits": ("load_digits", "CrossEntropyLoss", 32, {}),
    "diabetes": ("load_diabetes", "MSELoss", 32, {}),
    "cancer": ("load_breast_cancer", "CrossEntropyLoss", 32, {}),
    "synthetic": ("load_synthetic", "MSELoss", 64, {"rows": 1500}),
    "noise": ("load_synthetic", "MSELoss", 64, {"rows": 1500, "noise": 2.0}),
}


@dataclass(frozen=True)
class Case:
    """One net on one data set; `low` and `high` bound its learning rates."""

    data: str
    nodes: int
    layers: int
    epochs: int
    low: float
    high: float
    anneal: bool = True
    sgd: bool = False
    dropout: float = 0.0
    decay: float = 1e-2


CASES = {
    "digits, one node": Case("digits", 1, 1, 20, 3e-3, 2e-2),
    "synthetic, one node": Case("synthetic", 1, 1, 20, 3e-3, 2e-2),
    "noise": Case("noise", 32, 2, 20, 3e-3, 2e-2),
    "digits": Case("digits", 32, 2, 20, 3e-3, 2e-2),
    "cancer": Case("cancer", 32, 2, 20, 3e-3, 2e-2),
    "cancer, SGD": Case("cancer", 32, 2, 20, 0.05, 0.3, sgd=True, decay=1e-4),
    "diabetes, large": Case("diabetes", 64, 3, 40, 3e-3, 2e-2),
    "diabetes, small": Case("diabetes", 8, 1, 40, 1e-3, 3e-3, dropout=0.1),
    "synthetic, SGD": Case("synthetic", 32, 2, 20, 0.05, 0.3, sgd=True, decay=1e-4),
    "digits, short": Case("digits", 32, 2, 10, 5e-4, 1e-3, anneal=False),
    "digits, slow": Case("digits", 32, 2, 10, 3e-5, 1e-4, anneal=False),
    "cancer, slow": Case("cancer", 32, 2, 10, 3e-5, 6e-5, anneal=False),
    "diabetes, slow": Case("diabetes", 32, 2, 10, 2e-5, 5e-5, anneal=False),
    "digits, slow and annealed": Case("digits", 32, 2, 10, 1e-4, 3e-4),
    "cancer, slow and annealed": Case("cancer", 32, 2, 10, 1e-4, 3e-4),
    "diabetes, slow and annealed": Case("diabetes", 32, 2, 10, 3e-5, 1e-4),
}


def curves(case: Case) -> list[dict[str, object]]:
    """Each trial's learning rate, and its train and validation loss by epoch."""
    source, criterion, batch_size, settings = DATA[case.data]
    told = []
    for number in range(TRIALS):
        rate = case.low * (case.high / case.low) ** (number * 0.618 % 1)
        run = RunConfig(
            data=f"trainables.data.{source}",
            data_config=settings,
            criterion=f"torch.nn.{criterion}",
            batch_size=batch_size,
            epochs=case.epochs,
            net_config={"nodes": case.nodes, "layers": case.layers, "dropout": case.dropout},
            optimizer="torch.optim.SGD" if case.sgd else "torch.optim.AdamW",
            optimizer_config={"lr": rate, "weight_decay": case.decay}
            | ({"momentum": 0.9} if case.sgd else {}),
            scheduler="torch.optim.lr_scheduler.CosineAnnealingLR" if case.anneal else None,
        )
        epochs = list(train(run, load(run)))
        told.append(
            {
                "lr": float(f"{rate:.3g}"),
                "train": [float(f"{epoch.train_loss:.4g}") for epoch in epochs],
                "val": [float(f"{epoch.val_loss:.4g}") for epoch in epochs],
            }
        )
    return told


def best(case: Case) -> float:
    """The lowest last validation loss."""
    return min(trial["val"][-1] for trial in curves(case))  # type: ignore[index]


def main() -> None:
    torch.set_num_threads(1)
    if "--truth" in sys.argv:
        print(f"{'case':30} {'itself':>8} {'longer':>8} {'larger':>8} {'regular.':>8}")
        for name, case in CASES.items():
            others = (
                replace(case, epochs=2 * case.epochs),
                replace(case, nodes=32, layers=2),
                replace(case, dropout=0.3, decay=0.3),
            )
            print(f"{name:30}", *(f"{best(each):8.4f}" for each in (case, *others)), flush=True)
        return
    TARGET.write_text(json.dumps({name: curves(case) for name, case in CASES.items()}, indent=None) + "\n")


if __name__ == "__main__":
    main()
