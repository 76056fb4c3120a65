"""How long a report of a large study takes: tables, importance with intervals, all figures, all files.

    python benchmarks/report.py [--trials 1000] [--epochs 10]

The study is written as a journal, as a sweep would have; the report is then made as `launch.py report`
makes it, without MLflow.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from pathlib import Path

from raysweep.config import Sweep
from raysweep.report.report import report
from raysweep.report.report_files import write
from raysweep.report.subject import of_study
from raysweep.study.journal.events import (
    AttemptEnded,
    AttemptStarted,
    EpochReported,
    TrialCreated,
    TrialEnded,
    TrialStarted,
)
from raysweep.study.journal.log import Journal
from raysweep.study.storage.layout import StudyFolder
from schedulers.trial_id import trial_id

LR, LAYERS, DECAY, NORM = (
    "optimizer_config.lr",
    "net_config.layers",
    "optimizer_config.weight_decay",
    "net_config.norm",
)


def main() -> None:
    """Write the study, report on it, print what each part took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=10)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = make(Path(scratch), asked.trials, asked.epochs)
        began, cpu = time.perf_counter(), time.process_time()
        subject = of_study(folder)
        read = time.perf_counter()
        found = report(subject, 10)
        learnt = time.perf_counter()
        files = write(found, folder.path / "report")
        done = time.perf_counter()
        size = sum(file.stat().st_size for file in files) / 1e6
        print(
            f"{asked.trials} trials of {asked.epochs} epochs: {done - began:.1f} s "
            f"({time.process_time() - cpu:.1f} s of CPU): journal {read - began:.1f}, tables and importance "
            f"{learnt - read:.1f}, figures and files {done - learnt:.1f} s; {size:.1f} MB"
        )


def make(root: Path, trials: int, epochs: int) -> StudyFolder:
    """A study of four parameters; a third of its trials is stopped halfway."""
    folder = StudyFolder.create(root, "large", sweep(trials, epochs), "")
    journal, rng = Journal(folder.journal_dir, "large"), random.Random(0)
    journal.append(AttemptStarted(t=0.0, attempt=1, slots=8, trials=trials))
    for number in range(trials):
        name, t = trial_id(number), 2.0 * number
        config = {
            LR: 10 ** rng.uniform(-4, 0),
            LAYERS: rng.randint(1, 6),
            DECAY: 10 ** rng.uniform(-6, -2),
            NORM: rng.choice(["batch", "layer", "none"]),
        }
        journal.append(TrialCreated(t=t, trial=name, config=config, source="sampler"))
        journal.append(TrialStarted(t=t, trial=name, attempt=1))
        stopped, final = number % 3 == 2, worth(config) + rng.gauss(0, 0.05)
        for epoch in range(1, (epochs // 2 if stopped else epochs) + 1):
            loss = final + 1 / epoch
            journal.append(
                EpochReported(
                    t=t + epoch, trial=name, generation=0, epoch=epoch, work=epoch, loss=loss,
                    metrics={"val_loss": loss, "epoch_s": 1.0}, decision="continue",
                )
            )  # fmt: skip
        outcome = "stopped" if stopped else "completed"
        journal.append(
            TrialEnded(t=t + epochs, trial=name, outcome=outcome, reason=f"rank {number} of {trials}")
        )
    journal.append(AttemptEnded(t=2.0 * trials + epochs, attempt=1, exit_code=0, reason="all trials ended"))
    journal.close()
    return folder


def sweep(trials: int, epochs: int) -> Sweep:
    """What was asked for."""
    return Sweep.model_validate(
        {
            "study_name": "large",
            "trials": trials,
            "trial_scheduler": {"name": "schedulers.MedianStopping"},
            "run": {"data": "trainables.data.load_digits", "net": "trainables.mlp.MLP", "epochs": epochs},
            "search_space": {
                LR: {"type": "float", "min": 1e-4, "max": 1.0, "log": True},
                LAYERS: {"type": "int", "min": 1, "max": 6},
                DECAY: {"type": "float", "min": 1e-6, "max": 1e-2, "log": True},
                NORM: {"type": "categorical", "choices": ["batch", "layer", "none"]},
            },
        }
    )


def worth(config: dict[str, object]) -> float:
    """A valley in the learning rate, a slope in the depth."""
    return (math.log10(float(str(config[LR]))) + 2) ** 2 + 0.1 * int(str(config[LAYERS])) + 0.5


if __name__ == "__main__":
    main()
