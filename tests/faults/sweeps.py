"""The sweep of the fault tests: a loop that trains nothing, so that what is timed and killed is ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def write_sweep(
    folder: Path, name: str, *, points: Any = None, net: Any = None, epochs: int = 8, **words: Any
) -> Path:
    """`folder/NAME.yaml`.

    Args:
        folder: where.
        name: the study's.
        points: configurations to begin with; a list of `net_config.kind`s.
        net: `net_config`.
        epochs: of each trial.
        words: of the sweep file, over the usual ones.
    """
    space: dict[str, Any] = {
        "optimizer_config": {"lr": {"type": "float", "min": 1e-3, "max": 1.0, "log": True}}
    }
    if points:
        kinds = sorted({*points, "sound"})
        space["net_config"] = {"kind": {"type": "categorical", "choices": kinds}}
        words["points_to_evaluate"] = [
            {"net_config.kind": kind, "optimizer_config.lr": 10 ** -(1 + n / 7)}
            for n, kind in enumerate(points)
        ]
    sweep = {
        "study_name": name,
        "trials": len(points) if points else 4,
        "seed": 3,
        "sampler": {"name": "optuna.samplers.RandomSampler"},
        "trial_scheduler": {"name": "schedulers.FIFO"},
        "max_concurrent_trials": 2,
        "baseline": False,
        "run": {
            "project": "faults",
            "data": "trainables.data.load_diabetes",
            "train": "tests.faults.loop.Loop",
            "epochs": epochs,
            "net_config": net or {},
            "optimizer_config": {"lr": 0.1},
            "checkpoint_config": {"enabled": True, "save_every_n_epochs": 2},
        },
        "search_space": space,
        **words,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(sweep))
    return path
