"""Translates the training template's own keys.

Our first users have its two files, a run config and an optimize config; both are read as they are. Notes say
what was translated or ignored.
"""

from __future__ import annotations

from raysweep.config.document import Document, Location
from raysweep.config.problem import Key, Problem, SweepError
from raysweep.config.sweep import Sweep
from trainables.run_config import RunConfig

OLD_SWEEP_KEYS = ("pruner", "wandb", "logging")
OLD_RUN_KEYS = ("wandb", "logging")

PRUNERS = {
    "pruner.PFLPruner": "schedulers.ClassicPFL",
    "optuna.pruners.NopPruner": "schedulers.FIFO",
}
"""Our counterparts of pruners, by their names in the template."""


def is_run_config(document: Document) -> bool:
    """Whether a file is a run config (`best.yaml`) instead of a sweep."""
    keys = set(document.value)
    of_a_sweep = keys & ({*Sweep.model_fields, "pruner"} - {"metrics", "import_paths"})
    return "run" not in keys and len(keys & set(RunConfig.model_fields)) > len(of_a_sweep)


def as_sweep(run: Document, study_name: str) -> Document:
    """The sweep that trains a run config once."""
    value = {"study_name": study_name, "trials": 1, "baseline": True, "run": {}}
    document = Document(run.file, value)
    document.graft(("run",), run)
    document.locations[("run",)] = Location(run.file, 1)
    _judge_by_monitor(document)
    return document


def _judge_by_monitor(document: Document) -> None:
    """Set the sweep's metric to the one that its checkpoints are chosen by, if they are."""
    key: Key = ("run", "checkpoint_config")
    config = document.at(key)
    if not isinstance(config, dict) or config.get("enabled") is not True:
        return
    directions = {"min": "minimize", "max": "maximize"}
    for field, source, value in (
        ("metric", "monitor", config.get("monitor")),
        ("direction", "mode", directions.get(config.get("mode", "min"))),
    ):
        if isinstance(value, str):
            document.value[field] = value
            document.locations[(field,)] = document.locations.get((*key, source), Location(document.file, 1))


def as_pair(run: Document, optimize: Document) -> Document:
    """Combine a run config and an optimize config into one sweep.

    Raises:
        SweepError: if they are not one of each.
    """
    if "run" in run.value or not is_run_config(run):
        what = "is not a run config, but --optimize-config was given"
        fix = "give the run config first: RUN.yaml --optimize-config OPT.yaml (a sweep file stands alone)"
        raise SweepError([Problem(run.file, 1, "", what, fix)])
    if "run" in optimize.value:
        raise SweepError(
            [optimize.problem(("run",), f"{run.file} is the run", "drop this key, or run this file alone")]
        )
    optimize.graft(("run",), run)
    return optimize


def translate(document: Document) -> tuple[list[Problem], list[Problem]]:
    """Replace the template's keys by ours.

    Returns:
        Problems, and notes on what was translated or ignored.
    """
    problems, notes = [], []
    for key in [*((name,) for name in ("wandb", "logging")), *(("run", name) for name in OLD_RUN_KEYS)]:
        holder = document.at(key[:-1])
        if isinstance(holder, dict) and key[-1] in holder:
            notes.append(document.problem(key, "ignored", "trials are tracked in MLflow; see 'tracking'"))
            del holder[key[-1]]
    if "pruner" in document.value and "trial_scheduler" in document.value:
        what = "'pruner' and 'trial_scheduler' mean the same"
        problems.append(document.problem(("pruner",), what, "keep one of the two"))
        del document.value["pruner"]
    elif "pruner" in document.value:
        notes += _translate_pruner(document)
    return problems, notes


def _translate_pruner(document: Document) -> list[Problem]:
    """Replace `pruner` by the trial scheduler that it means."""
    key: Key = ("trial_scheduler",)
    document.move(("pruner",), key)
    value = document.at(key)
    if value is None:
        del document.value["trial_scheduler"]
        return []
    name = value.get("name") if isinstance(value, dict) else value
    ours = PRUNERS.get(name) if isinstance(name, str) else None
    if ours is None:
        return []
    if isinstance(value, dict):
        value["name"] = ours
    else:
        document.value["trial_scheduler"] = ours
    at: Key = (*key, "name") if isinstance(value, dict) else key
    return [document.problem(at, f"'{name}' is {ours} here")]
