"""Do PFL's predicted ranges hold the ends they are about? Recorded curves, replayed.

    PYTHONPATH=. python benchmarks/intervals.py --tables DIR [--epochs 10,50] [--workers 1,16] [--seeds 1]

DIR holds tables as in stopping.py. A study is one table in one random order. Of each prediction that PFL
told of a trial, the recorded curve has the end, whether the trial was let finish or not. A row is a number
of epochs and workers; its columns are means over studies of shares within a study, and the worst study:

    model    the model's own 90% range held the end, over all predictions
    told     the range that was told (widened by how far earlier predictions were off) held it
    finished the same, of trials that finished: all that a study itself can see
    with     share of the predictions that came with a range; of the others too few had finished
    wider    median factor by which ranges were widened
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stopping import numbers, tables  # the benchmark beside this one

from schedulers.pfl import PFLRule
from schedulers.simulate import replay

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Told:
    """One prediction.

    Attributes:
        trial: it was told of.
        miss: how far off it was, in halves of the model's own range.
        wider: the factor by which the range told was wider than that; 0 if none was told.
    """

    trial: str
    miss: float
    wider: float


class Recording(PFLRule):
    """PFL that keeps what it told of each trial."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.all_noted: list[tuple[str, bool, list[float]]] = []

    def _note_outlook(self, trial: str, level: int) -> None:
        super()._note_outlook(trial, level)
        self.all_noted.append((trial, self.positive, self.noted[trial][-1]))


def predictions(losses: Array, order: Sequence[int], workers: int) -> tuple[list[Told], set[str]]:
    """All predictions of one study whose end can be compared, and who finished."""
    rule = Recording(max_resource=losses.shape[1], population_size=len(order))
    outcome = replay(rule, losses.tolist(), order, workers)
    told = []
    for trial, positive, (_, mean, half, wider) in rule.all_noted:
        end = float(losses[order[int(trial)], -1])
        if np.isfinite(end) and half > 0:
            told.append(Told(trial, abs((np.log(end) if positive else end) - mean) / half, wider))
    place = {index: f"{number:05d}" for number, index in enumerate(order)}
    return told, {place[index] for index in outcome.finished}


def shares(told: Sequence[Told], finished: set[str]) -> dict[str, float]:
    """The columns of one study; NaN where it has nothing to show."""
    ranged = [one for one in told if one.wider]

    def share(hits: Sequence[bool]) -> float:
        return float(np.mean(hits)) if hits else np.nan

    return {
        "model": share([one.miss <= 1 for one in told]),
        "told": share([one.miss <= one.wider for one in ranged]),
        "finished": share([one.miss <= one.wider for one in ranged if one.trial in finished]),
        "with": share([bool(one.wider) for one in told]),
        "wider": float(np.median([one.wider for one in ranged])) if ranged else np.nan,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--tables", type=Path, required=True, help="folder of npz files")
    parser.add_argument("--epochs", type=numbers, default=[10, 50], help="lengths of curves to look at")
    parser.add_argument("--workers", type=numbers, default=[1])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args(arguments)
    print(
        "epochs workers studies |"
        + "".join(f"{name:>18s}" for name in ("model", "told", "finished", "with", "wider"))
    )
    found = tables(options.tables, "val", False)
    for epochs in options.epochs:
        for workers in options.workers:
            studies = []
            for losses in found.get(epochs, {}).values():
                for seed in range(options.seeds):
                    order = np.random.default_rng([seed, 7]).permutation(len(losses))[: options.trials]
                    studies.append(shares(*predictions(losses, order.tolist(), workers)))
            if not studies:
                parser.error(f"no npz file in {options.tables} has an array 'val' of {epochs} epochs")
            cells = []
            for name in studies[0]:
                column = np.array([study[name] for study in studies])
                worst = np.nanmax(column) if name == "wider" else np.nanmin(column)
                cells.append(f"{np.nanmean(column):8.2f} ({worst:5.2f})")
            print(
                f"{epochs:6d} {workers:7d} {len(studies):7d} |" + "".join(f"{cell:>18s}" for cell in cells),
                flush=True,
            )


if __name__ == "__main__":
    main()
