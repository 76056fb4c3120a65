"""A study's whole curves as a table for `stopping.py`: an npz file with `val`, (trials, epochs).

    export MLFLOW_TRACKING_URI=sqlite:////tmp/whole.db
    for task in digits pumps; do
        python launch.py benchmarks/curves/$task.yaml --runs /tmp/whole
        python benchmarks/record.py /tmp/whole/$task benchmarks/curves/${task}__cosine__50.npz
    done

That is how `benchmarks/curves` was made: 80 random trials of 50 epochs each, none of them stopped, one at a
time, a minute or two each. Rows are trials in order of their numbers, losses are lower-is-better, float32;
NaN from where a trial diverged.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from raysweep.study.journal.log import read_events  # noqa: E402 - the path first
from raysweep.study.journal.records import fold  # noqa: E402


def table(study: Path) -> np.ndarray:
    """Losses of a study's trials, (trials, epochs), float32.

    Raises:
        SystemExit: if a trial neither ran to the last epoch nor diverged: it has no end to compare with.
    """
    record = fold(read_events(study / "journal"))
    curves = {name: [point.loss for point in trial.curve] for name, trial in sorted(record.trials.items())}
    epochs = max(map(len, curves.values()), default=0)
    losses = np.full((len(curves), epochs), np.nan, dtype=np.float32)
    for row, (name, curve) in zip(losses, curves.items(), strict=True):
        if len(curve) < epochs and record.trials[name].outcome != "diverged":
            raise SystemExit(
                f"{study}: trial {name} has {len(curve)} of {epochs} epochs; use schedulers.FIFO"
            )
        row[: len(curve)] = curve
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, help="folder of a study, runs/NAME")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    losses = table(options.study)
    np.savez_compressed(options.out, val=losses)
    print(f"{options.out}: {losses.shape[0]} trials of {losses.shape[1]} epochs")


if __name__ == "__main__":
    main()
