"""The winner in MLflow's model registry: a pyfunc model with signature and input example.

It is scored by our own `trainables` package, which goes with it, so that loading the model needs
neither this clone nor Ray.
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
"""Packages that `trainables` needs to answer."""


def register_once(folder: Path, name: str, uri: str, result: Mapping[str, Any]) -> tuple[str, str]:
    """Register a retraining's model, unless it is registered already; never fails for MLflow's sake.

    Args:
        folder: of the retraining; its model stands in `model/`.
        name: of the registered model: the study's.
        uri: of MLflow's store.
        result: of the retraining, for the scores.

    Returns:
        What was done, and what went wrong; one of them is "". What could not be done now is done by
        the next call.
    """
    file = folder / FILE
    with suppress(FileNotFoundError, Unreadable):  # one that is damaged is registered again
        known = read_json(file, version=VERSION, kind="registration")
        if known["uri"] == uri:
            return _registry_uri_text(known), ""
    parent = cursor.load(folder / cursor.FILE)[0].parent
    if not parent:
        return (
            "",
            "not yet: MLflow has not seen this retraining; `launch.py resume` tells it, then retrain again",
        )
    try:
        version = register(uri, parent, folder / "model", name, result)
    except (Unreachable, Refused) as error:
        return "", f"not yet: {error}; the model is kept, `launch.py retrain` tries again"
    known = {"version": VERSION, "uri": uri, "name": name, "model_version": version}
    write_json(file, "registration", known)
    return _registry_uri_text(known), ""


def register(uri: str, run_id: str, model: Path, name: str, result: Mapping[str, Any]) -> str:
    """Log the model of a folder to a run, with what it is worth, and register it; its version.

    Raises:
        Unreachable: if the store does not answer.
        Refused: if it will not take it.
    """
    store = Store(uri, study_id="")
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch) / "model"
        store.call(_pack, packed, model)
        store.log_scores(run_id, scores(result))
        store.log_file(run_id, model / CARD, "")
        return store.register(run_id, packed, name, tags(result))


def tags(result: Mapping[str, Any]) -> dict[str, str]:
    """Of the version: what one would rank versions by."""
    seed = str(result["model_seed"])
    found = {"seed": seed, "configuration": str(result["standings"][0]["what"])}
    for split in ("val", "test"):
        scores = (result.get(split) or {}).get("members", {}).get(seed, {})
        found |= {f"{split}_{key}": f"{value:.6g}" for key, value in scores.items()}
    return found


def scores(result: Mapping[str, Any]) -> dict[str, float]:
    """Of the retraining's run: the winner over its seeds, its best net, and the nets together.

    >>> scores({"metric": "val_loss", "standings": [{"mean": 0.5, "std": 0.1}], "model_seed": 58, "val": None,
    ...         "test": {"members": {"58": {"loss": 0.4}}, "ensemble": {"loss": 0.3}}})
    {'winner_mean_val_loss': 0.5, 'winner_std_val_loss': 0.1, 'test_loss': 0.4, 'ensemble_test_loss': 0.3}
    """
    winner, seed = result["standings"][0], str(result["model_seed"])
    found = {f"winner_{word}_{result['metric']}": winner[word] for word in ("mean", "std")}
    for split in ("val", "test"):
        known = result.get(split) or {}
        found |= {f"{split}_{key}": value for key, value in known.get("members", {}).get(seed, {}).items()}
        found |= {f"ensemble_{split}_{key}": value for key, value in known.get("ensemble", {}).items()}
    return {entity_key(key): float(value) for key, value in found.items() if value is not None}


def _pack(target: Path, model: Path) -> None:
    """Write MLflow's own form of a model's folder."""
    # It says what it does, with bars, into the terminal where the result is to be read.
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


def _registry_uri_text(known: Mapping[str, Any]) -> str:
    return f"models:/{known['name']}/{known['model_version']} in MLflow's model registry"
