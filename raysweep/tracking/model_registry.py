"""Registers the winner in MLflow's model registry, as a pyfunc model with signature and input example.

The model contains our `trainables` package, which computes its outputs, so that loading it needs neither this
clone nor Ray.
"""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from raysweep.study.storage.files import Unreadable, read_json, write_json
from raysweep.tracking import cursor
from raysweep.tracking.provenance import package_versions
from raysweep.tracking.runs import entity_key
from raysweep.tracking.store import Refused, Store, Unreachable
from trainables.imports import CLONE

VERSION = 1
FILE = "registered.json"
CARD = "MODEL_CARD.md"
NEEDED = ("torch", "numpy", "pandas", "pydantic", "pytorch_optimizer", "pytorch_scheduler")
"""Packages that the model needs."""


def register_once(folder: Path, name: str, uri: str, result: Mapping[str, Any]) -> tuple[str, str]:
    """Register a retraining's model, unless it is registered; errors of MLflow are returned, not raised.

    Args:
        folder: of the retraining, with the model in `model/`.
        name: of the registered model, which is the study's.
        uri: of MLflow's store.
        result: of the retraining, for the scores.

    Returns:
        What was registered, and the error; one of them is "". After an error the next call tries again.
    """
    file = folder / FILE
    with suppress(FileNotFoundError, Unreadable):  # if the file is damaged, the model is registered again
        registration = read_json(file, version=VERSION, kind="registration")
        if registration["uri"] == uri:
            return _registry_uri_text(registration), ""
    parent = cursor.load(folder / cursor.FILE)[0].parent
    if not parent:
        return "", "not yet: MLflow has no run of this retraining; `launch.py resume`, then retrain again"
    try:
        version = register(uri, parent, folder / "model", name, result)
    except (Unreachable, Refused) as error:
        return "", f"not yet: {error}; the model is kept, `launch.py retrain` tries again"
    registration = {"version": VERSION, "uri": uri, "name": name, "model_version": version}
    write_json(file, "registration", registration)
    return _registry_uri_text(registration), ""


def register(uri: str, run_id: str, model: Path, name: str, result: Mapping[str, Any]) -> str:
    """Log a model and its scores to a run, and register it; returns its version.

    Raises:
        Unreachable: if the store does not answer.
        Refused: if the store does not accept it.
    """
    store = Store(uri, study_id="")
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch) / "model"
        store.call(_pack, packed, model)
        store.log_scores(run_id, scores(result))
        store.log_file(run_id, model / CARD, "")
        return store.register(run_id, packed, name, tags(result))


def tags(result: Mapping[str, Any]) -> dict[str, str]:
    """Tags of the model's version: its seed, configuration and scores."""
    seed = str(result["model_seed"])
    values = {"seed": seed, "configuration": str(result["standings"][0]["what"])}
    for split in ("val", "test"):
        scores = (result.get(split) or {}).get("members", {}).get(seed, {})
        values |= {f"{split}_{key}": f"{value:.6g}" for key, value in scores.items()}
    return values


def scores(result: Mapping[str, Any]) -> dict[str, float]:
    """Scores of a retraining: the winner over its seeds, its best net, and the ensemble.

    >>> scores({"metric": "val_loss", "standings": [{"mean": 0.5, "std": 0.1}], "model_seed": 58, "val": None,
    ...         "test": {"members": {"58": {"loss": 0.4}}, "ensemble": {"loss": 0.3}}})
    {'winner_mean_val_loss': 0.5, 'winner_std_val_loss': 0.1, 'test_loss': 0.4, 'ensemble_test_loss': 0.3}
    """
    winner, seed = result["standings"][0], str(result["model_seed"])
    values = {f"winner_{statistic}_{result['metric']}": winner[statistic] for statistic in ("mean", "std")}
    for split in ("val", "test"):
        evaluation = result.get(split) or {}
        of_seed = evaluation.get("members", {}).get(seed, {})
        values |= {f"{split}_{key}": value for key, value in of_seed.items()}
        values |= {f"ensemble_{split}_{key}": value for key, value in evaluation.get("ensemble", {}).items()}
    return {entity_key(key): float(value) for key, value in values.items() if value is not None}


def _pack(target: Path, model: Path) -> None:
    """Save a model's folder in MLflow's format."""
    # Progress bars would hide the result in the terminal.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    pyfunc = importlib.import_module("mlflow.pyfunc")
    infer_signature = importlib.import_module("mlflow.models").infer_signature
    loaded = importlib.import_module("trainables.model").Model.load(model)
    example = loaded.example()
    versions = package_versions(NEEDED)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    pyfunc.save_model(
        str(target),
        loader_module="trainables.model",
        data_path=str(model),
        code_paths=[str(CLONE / "trainables")],
        signature=infer_signature(example, loaded.predict(example)),
        input_example=example,
        pip_requirements=[f"{package}=={version}" for package, version in versions.items()],
    )


def _registry_uri_text(registration: Mapping[str, Any]) -> str:
    return f"models:/{registration['name']}/{registration['model_version']} in MLflow's model registry"
